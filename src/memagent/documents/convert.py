"""HTML, DOCX and EPUB -> a text file, as Markdown."""

from __future__ import annotations

import io
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO, Literal

from memagent.documents.problems import damaged, empty
from memagent.documents.sources import Source, Spool
from memagent.documents.text import Text
from memagent.documents.xml import BadXml


def from_markup(source: Source, page: str, spool: Spool) -> Text:
    """HTML as Markdown."""
    return _stored(source, _markdown(source, io.BytesIO(page.encode(errors="replace")), "html"), spool)


def from_docx(source: Source, path: Path, spool: Spool) -> Text:
    """DOCX as Markdown."""
    from memagent.documents.docx import rewritten

    try:
        stream, skipped = rewritten(path)
    except (ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise damaged(source.label, "it cannot be read as DOCX") from error
    said = (f"Skipped in {source.label}: {each}; open it in Word and save its text." for each in skipped)
    return _stored(source, _markdown(source, stream, "docx"), spool, tuple(said))


def from_epub(source: Source, path: Path, spool: Spool) -> Text:
    """The chapters of an EPUB as Markdown, after its title and authors."""
    from memagent.documents.epub import book

    try:
        found = book(path)
    except UnicodeDecodeError as error:
        raise damaged(source.label, f"a chapter is not the {error.encoding} text that it declares to be") from error
    except BadXml as error:
        raise damaged(source.label, str(error).split("\n")[0] or "it cannot be read as EPUB") from error
    except (zipfile.BadZipFile, zlib.error) as error:
        raise damaged(source.label, "it cannot be read as EPUB") from error
    about = "\n".join(f"**{label}:** {text}" for label, text in found.about.items())
    chapters = [_markdown(source, io.BytesIO(each.encode(errors="replace")), "html") for each in found.chapters]
    if not any(chapters):
        raise empty(source.label)
    said = (f"Skipped in {source.label}: {each}, which is no page of text." for each in found.skipped)
    text = "\n\n".join(each for each in (about, *chapters) if each)
    return _stored(source, text, spool, tuple(said))


def _markdown(source: Source, stream: BinaryIO, kind: Literal["html", "docx"]) -> str:
    import markitdown  # only here: it takes half a second to load

    converters: dict[str, type[markitdown.DocumentConverter]] = {
        "html": markitdown.converters.HtmlConverter,
        "docx": markitdown.converters.DocxConverter,
    }
    # One converter alone: with all of them, a damaged file comes back as what some other makes of its bytes.
    converter = markitdown.MarkItDown(enable_builtins=False)
    converter.register_converter(converters[kind]())
    info = markitdown.StreamInfo(extension=f".{kind}", charset="utf-8" if kind == "html" else None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the libraries below it warn of what they read leniently
        try:
            return converter.convert_stream(stream, stream_info=info).markdown.strip()
        except markitdown.MarkItDownException as error:
            raise damaged(source.label, f"it cannot be read as {kind.upper()}") from error


def _stored(source: Source, text: str, spool: Spool, said: tuple[str, ...] = ()) -> Text:
    if not text.strip():
        raise empty(source.label)
    target = spool.file()
    target.write_text(text, encoding="utf-8", errors="replace", newline="")
    return Text(source, target, warnings=said)
