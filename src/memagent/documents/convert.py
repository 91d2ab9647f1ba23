"""Convert HTML, DOCX, EPUB and PDF to a text file; all but PDF become Markdown.

Each function here is a `Converter`. The libraries that it needs are imported when it is called.
"""

from __future__ import annotations

import io
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Literal

from memagent.documents.conversion import Conversion
from memagent.documents.encodings import TextEncoding
from memagent.documents.refusals import damaged, empty, keeping
from memagent.documents.scope import Pages
from memagent.documents.xml import BadXml

Converter = Callable[[str, Path, TextEncoding, Path, Pages | None], Conversion]
"""Writes the text of a document to a file as UTF-8.

Its arguments are the document's name for messages, its path, the encoding of an HTML page, the file to write, and the
pages of a PDF to read (None for all). It raises DocumentError if the document is damaged, protected, or has no text.
"""


def from_pdf(label: str, path: Path, encoding: TextEncoding, target: Path, pages: Pages | None = None) -> Conversion:
    from memagent.documents.pdf import write_text

    return write_text(label, path, target, pages)


def from_html(label: str, path: Path, encoding: TextEncoding, target: Path, pages: Pages | None = None) -> Conversion:
    page = path.read_bytes().decode(encoding.name, encoding.errors)
    return _write(label, target, _markdown(label, io.BytesIO(page.encode(errors="replace")), "html"))


def from_docx(label: str, path: Path, encoding: TextEncoding, target: Path, pages: Pages | None = None) -> Conversion:
    return _write(label, target, *_docx(label, path))


def from_epub(label: str, path: Path, encoding: TextEncoding, target: Path, pages: Pages | None = None) -> Conversion:
    return _write(label, target, *_epub(label, path))


def _write(label: str, target: Path, text: str, warnings: tuple[str, ...] = ()) -> Conversion:
    if not text.strip():
        raise empty(label)
    with keeping():
        target.write_text(text, encoding="utf-8", errors="replace", newline="")
    return Conversion(warnings=warnings)


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
