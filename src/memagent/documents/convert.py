"""HTML, DOCX and EPUB -> a text file, as Markdown."""

from __future__ import annotations

import io
import warnings
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Literal

from memagent.documents.problems import damaged, empty
from memagent.documents.sources import Source, Spool
from memagent.documents.text import Text


def from_markup(source: Source, page: str, spool: Spool) -> Text:
    """HTML as Markdown."""
    return _markdown(source, io.BytesIO(page.encode(errors="replace")), "html", spool)


def from_archive(source: Source, path: Path, kind: Literal["docx", "epub"], spool: Spool) -> Text:
    """DOCX or EPUB as Markdown."""
    if kind == "epub":
        with path.open("rb") as file:
            return _markdown(source, file, kind, spool)
    from memagent.documents.docx import rewritten

    try:
        stream, skipped = rewritten(path)
    except (ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise damaged(source.label, "it cannot be read as DOCX") from error
    text = _markdown(source, stream, kind, spool)
    said = tuple(f"Skipped in {source.label}: {each}; open it in Word and save its text." for each in skipped)
    return replace(text, warnings=said)


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
