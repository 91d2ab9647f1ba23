"""Extract the chapters of an EPUB as HTML, in reading order."""

from __future__ import annotations

import posixpath
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from lxml import etree

from memagent.documents.encodings import DECLARED_WITHIN, encoding_of
from memagent.documents.xml import BadXml, parsed

_PAGES = {"application/xhtml+xml", "text/html", "text/x-oeb1-document", "application/xml", ""}


@dataclass(frozen=True, slots=True)
class Book:
    """The content of an EPUB. `about` has the title and the authors, if the book names them."""

    about: dict[str, str]
    chapters: tuple[str, ...]
    skipped: tuple[str, ...]
    """Files in the reading order that are not pages, such as pictures."""


def book(path: Path) -> Book:
    """Read an EPUB.

    Raises:
        BadXml, zipfile.BadZipFile: the file is damaged. The message of a BadXml says how.
        UnicodeDecodeError: a chapter is not in the encoding that it declares.
    """
    with zipfile.ZipFile(path) as archive:
        names = {each.filename.replace("\\", "/").lower(): each for each in archive.infolist()}

        def content(name: str) -> bytes:
            # Some file systems, and some programs that write EPUBs, do not distinguish upper and lower case.
            if (found := names.get(posixpath.normpath(unquote(name)).lower())) is None:
                raise BadXml(f"its part {unquote(name)} is missing")
            return archive.read(found)

        container = parsed(content("META-INF/container.xml"), doctype=True)
        place = next((each.get("full-path", "") for each in _every(container, "rootfile")), "")
        if not place:
            raise BadXml("its container does not name a package file")
        package = parsed(content(place), doctype=True)
        items = {each.get("id"): each for each in _every(package, "item")}
        chapters, skipped = [], []
        for reference in _every(package, "itemref"):
            item = items.get(reference.get("idref"))
            if item is None:
                raise BadXml(f"its reading order names {reference.get('idref')}, which is missing")
            name = posixpath.join(posixpath.dirname(place), item.get("href", "").partition("#")[0])
            if item.get("media-type", "") in _PAGES:
                chapters.append(_decoded(content(name)))
            else:
                skipped.append(unquote(name))
        return Book(_about(package), tuple(chapters), tuple(skipped))


def _decoded(page: bytes) -> str:
    encoding = encoding_of(page[:DECLARED_WITHIN], True, None, None)
    return page.decode(encoding.name, encoding.errors)


def _about(package: Any) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    for label, name in (("Title", "title"), ("Authors", "creator")):
        texts = ("".join(each.itertext()).strip() for each in _every(package, name))
        found[label] = [text for text in texts if text]
    return {label: ", ".join(texts) for label, texts in found.items() if texts}


def _every(root: Any, name: str) -> Iterator[Any]:
    """Yield the elements with that name, in any namespace and with any prefix."""
    return (each for each in root.iter() if isinstance(each.tag, str) and etree.QName(each).localname == name)
