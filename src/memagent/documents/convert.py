"""Convert HTML, DOCX, EPUB and PDF to a text file; all but PDF become Markdown."""

from __future__ import annotations

import io
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO, Literal

from memagent.documents.conversion import Conversion
from memagent.documents.encodings import TextEncoding
from memagent.documents.refusals import damaged, empty, keeping
from memagent.documents.scope import Pages
from memagent.documents.xml import BadXml

Convertible = Literal["html", "docx", "epub", "pdf"]


def convert(
    kind: Convertible, label: str, path: Path, encoding: TextEncoding, target: Path, pages: Pages | None = None
) -> Conversion:
    """Write the text of a document to `target` as UTF-8. Returns where its pages start, and warnings.

    Args:
        label: the document's name in messages.
        encoding: the encoding of an HTML page.
        pages: the pages of a PDF to read; None for all.

    Raises:
        DocumentError: the document is damaged, protected, or has no text.
    """
    if kind == "pdf":
        from memagent.documents.pdf import from_pdf

        return from_pdf(label, path, target, pages)
    said: tuple[str, ...] = ()
    if kind == "html":
        page = path.read_bytes().decode(encoding.name, encoding.errors)
        text = _markdown(label, io.BytesIO(page.encode(errors="replace")), "html")
    elif kind == "docx":
        text, said = _docx(label, path)
    else:
        text, said = _epub(label, path)
    if not text.strip():
        raise empty(label)
    with keeping():
        target.write_text(text, encoding="utf-8", errors="replace", newline="")
    return Conversion(warnings=said)


def _docx(label: str, path: Path) -> tuple[str, tuple[str, ...]]:
    from memagent.documents.docx import rewritten

    try:
        stream, skipped = rewritten(path)
    except (ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise damaged(label, "it cannot be read as DOCX") from error
    said = (f"Skipped in {label}: {each}; open the file in Word and save that text." for each in skipped)
    return _markdown(label, stream, "docx"), tuple(said)


def _epub(label: str, path: Path) -> tuple[str, tuple[str, ...]]:
    """Return a book as Markdown (title and authors, then the chapters), and warnings."""
    from memagent.documents.epub import book

    try:
        found = book(path)
    except UnicodeDecodeError as error:
        raise damaged(label, f"a chapter cannot be decoded as {error.encoding}") from error
    except BadXml as error:
        raise damaged(label, str(error).split("\n")[0] or "it cannot be read as EPUB") from error
    except (zipfile.BadZipFile, zlib.error) as error:
        raise damaged(label, "it cannot be read as EPUB") from error
    about = "\n".join(f"**{name}:** {text}" for name, text in found.about.items())
    chapters = [_markdown(label, io.BytesIO(each.encode(errors="replace")), "html") for each in found.chapters]
    if not any(chapters):
        raise empty(label)
    said = (f"Skipped in {label}: {each}, which is not a page of text." for each in found.skipped)
    return "\n\n".join(each for each in (about, *chapters) if each), tuple(said)


def _markdown(label: str, stream: BinaryIO, kind: Literal["html", "docx"]) -> str:
    import markitdown  # only here: it takes half a second to load

    converters: dict[str, type[markitdown.DocumentConverter]] = {
        "html": markitdown.converters.HtmlConverter,
        "docx": markitdown.converters.DocxConverter,
    }
    # Register one converter only. With all of them, another one may accept a damaged file and return garbage.
    converter = markitdown.MarkItDown(enable_builtins=False)
    converter.register_converter(converters[kind]())
    info = markitdown.StreamInfo(extension=f".{kind}", charset="utf-8" if kind == "html" else None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the libraries underneath warn about markup that they tolerate
        try:
            return converter.convert_stream(stream, stream_info=info).markdown.strip()
        except RecursionError as error:
            raise damaged(label, "its parts are nested too deeply") from error
        except markitdown.MarkItDownException as error:
            raise damaged(label, f"it cannot be read as {kind.upper()}") from error
