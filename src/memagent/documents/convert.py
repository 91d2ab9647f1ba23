"""HTML, DOCX, EPUB and PDF -> a text file.

PDFium reads the pages of a PDF, not markitdown: it takes 2 ms a page instead of 240, keeps the pages apart, and does
not double the spaces of justified lines. The others become Markdown.
"""

from __future__ import annotations

import io
import threading
import warnings
from contextlib import closing
from pathlib import Path
from typing import BinaryIO, Literal

from memagent.documents.problems import damaged, empty, protected
from memagent.documents.sources import Source, Spool
from memagent.documents.text import Text
from memagent.errors import DocumentError

_BETWEEN_PAGES = "\n\n"
_LINE_END_HYPHEN = "\ufffe"  # PDFium's mark for a hyphen and the line break after it
_PASSWORD_ERRORS = (4, 5)  # FPDF_ERR_PASSWORD, FPDF_ERR_SECURITY

_pdfium = threading.Lock()  # PDFium must not be called from two threads at once


def from_markup(source: Source, page: str, spool: Spool) -> Text:
    """HTML as Markdown."""
    return _markdown(source, io.BytesIO(page.encode(errors="replace")), "html", spool)


def from_archive(source: Source, path: Path, kind: Literal["docx", "epub"], spool: Spool) -> Text:
    """DOCX or EPUB as Markdown."""
    with path.open("rb") as file:
        return _markdown(source, file, kind, spool)


def from_pdf(source: Source, path: Path, spool: Spool) -> Text:
    """A PDF page by page, as its lines stand there; a blank line between pages."""
    import pypdfium2

    target = spool.file()
    pages: list[int] = []
    position, blank = 0, True
    with _pdfium:
        try:
            pdf = pypdfium2.PdfDocument(path)
        except pypdfium2.PdfiumError as error:
            if error.err_code in _PASSWORD_ERRORS:
                raise protected(source.label) from error
            raise damaged(source.label, "it cannot be opened as a PDF") from error
        with closing(pdf), target.open("w", encoding="utf-8", errors="replace", newline="") as file:
            for number in range(len(pdf)):
                try:
                    with closing(pdf[number]) as page, closing(page.get_textpage()) as lines:
                        text: str = lines.get_text_range()
                except pypdfium2.PdfiumError as error:
                    raise damaged(source.label, f"page {number + 1} cannot be read") from error
                text = text.replace("\r\n", "\n").replace(_LINE_END_HYPHEN, "-\n")
                blank = blank and not text.strip()
                if number:
                    position += file.write(_BETWEEN_PAGES)
                pages.append(position)
                position += file.write(text)
    if blank:
        raise DocumentError(
            f"{source.label} has no text in it, only pictures of pages: recognise the text first, "
            f"as with `ocrmypdf scan.pdf text.pdf`, and give the result."
        )
    return Text(source, target, pages=tuple(pages))


def _markdown(source: Source, stream: BinaryIO, kind: Literal["html", "docx", "epub"], spool: Spool) -> Text:
    import markitdown  # only here: it takes half a second to load

    converters: dict[str, type[markitdown.DocumentConverter]] = {
        "html": markitdown.converters.HtmlConverter,
        "docx": markitdown.converters.DocxConverter,
        "epub": markitdown.converters.EpubConverter,
    }
    # One converter alone: with all of them, a damaged file comes back as what some other makes of its bytes.
    converter = markitdown.MarkItDown(enable_builtins=False)
    converter.register_converter(converters[kind]())
    info = markitdown.StreamInfo(extension=f".{kind}", charset="utf-8" if kind == "html" else None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the libraries below it warn of what they read leniently
        try:
            text = converter.convert_stream(stream, stream_info=info).markdown
        except markitdown.MarkItDownException as error:
            raise damaged(source.label, f"it cannot be read as {kind.upper()}") from error
    if not text.strip():
        raise empty(source.label)
    target = spool.file()
    target.write_text(text, encoding="utf-8", errors="replace", newline="")
    return Text(source, target)
