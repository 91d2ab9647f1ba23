"""All chapters of an EPUB are read, or a message names the missing one."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from memagent.documents import open_documents
from memagent.errors import DocumentError

CONTAINER = (
    '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
    '<rootfile full-path="OEBPS/book.opf"/></rootfiles></container>'
)


def item(number: int, href: str, kind: str = "application/xhtml+xml") -> str:
    return f'<item id="i{number}" href="{href}" media-type="{kind}"/>'


def epub(path: Path, items: list[str], files: dict[str, bytes], package: str = "{}", missing: str = "") -> Path:
    """Write an EPUB whose reading order is that of `items`. `package` is a format string around the package file."""
    spine = "".join(f'<itemref idref="i{number}"/>' for number in range(len(items))) + missing
    opf = (
        '<package xmlns="http://www.idpf.org/2007/opf"><metadata xmlns:dc="http://purl.org/dc/elements/1.1/">'
        "<dc:title>Tides</dc:title><dc:creator>Ada</dc:creator><dc:creator>Bo</dc:creator></metadata>"
        f"<manifest>{''.join(items)}</manifest><spine>{spine}</spine></package>"
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", "application/epub+zip")
        archive.writestr("META-INF/container.xml", CONTAINER)
        archive.writestr("OEBPS/book.opf", package.format(opf))
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def page(text: str) -> bytes:
    return f"<html xmlns='http://www.w3.org/1999/xhtml'><head><title/></head><body><p>{text}</p></body></html>".encode()


def read(path: Path) -> str:
    with open_documents([str(path)]) as document:
        return "".join(document.chunks())


ABOUT = "**Title:** Tides\n**Authors:** Ada, Bo"
TWO = {"OEBPS/c 1.xhtml": page("One."), "OEBPS/C2.xhtml": page("Two.")}


def test_chapters_are_found_by_fragment_case_and_escapes(tmp_path: Path) -> None:
    items = [item(0, "c%201.xhtml#top"), item(1, "x/../c2.XHTML")]
    assert read(epub(tmp_path / "a.epub", items, TWO)) == f"{ABOUT}\n\nOne.\n\nTwo."


@pytest.mark.parametrize(
    "package",
    [
        '<?xml version="1.0"?><!DOCTYPE package PUBLIC "+//ISBN 0-9673008-1-9//DTD OEB 1.2 Package//EN" "x.dtd" '
        '[<!ENTITY a "b">]>{}',
        '<?xml version="1.0" encoding="UTF-8"?>\n<!-- made by hand -->{}',
    ],
)
def test_old_and_odd_package_files(tmp_path: Path, package: str) -> None:
    assert read(epub(tmp_path / "a.epub", [item(0, "C2.xhtml")], TWO, package)) == f"{ABOUT}\n\nTwo."


def test_a_package_file_with_prefixes(tmp_path: Path) -> None:
    path = epub(tmp_path / "a.epub", [item(0, "C2.xhtml")], TWO)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name).decode() for name in archive.namelist()}
    opf = (
        members["OEBPS/book.opf"]
        .replace('<package xmlns="', '<o:package xmlns:o="')
        .replace("</package", "</o:package")
    )
    for name in ("metadata", "manifest", "spine", "item", "itemref"):
        opf = opf.replace(f"<{name} ", f"<o:{name} ").replace(f"<{name}>", f"<o:{name}>")
        opf = opf.replace(f"</{name}>", f"</o:{name}>")
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (members | {"OEBPS/book.opf": opf}).items():
            archive.writestr(name, content)
    assert read(path) == f"{ABOUT}\n\nTwo."


def test_chapters_in_other_encodings(tmp_path: Path) -> None:
    russian = '<?xml version="1.0" encoding="windows-1251"?><html><body>Привет.</body></html>'.encode("cp1251")
    french = "<html><head><meta charset='iso-8859-1'/></head><body>Cafés – “là”.</body></html>".encode("cp1252")
    wide = "<html><body>Été.</body></html>".encode("utf-16")
    files = {"OEBPS/a.xhtml": russian, "OEBPS/b.xhtml": french, "OEBPS/c.xhtml": wide}
    text = read(epub(tmp_path / "a.epub", [item(0, "a.xhtml"), item(1, "b.xhtml"), item(2, "c.xhtml")], files))
    assert text == f"{ABOUT}\n\nПривет.\n\nCafés – “là”.\n\nÉté."


def problem(path: Path) -> str:
    with pytest.raises(DocumentError) as caught:
        open_documents([str(path)])
    return str(caught.value).replace(str(path), path.name)


def test_a_missing_chapter_is_an_error(tmp_path: Path) -> None:
    items = [item(0, "C2.xhtml"), item(1, "gone.xhtml")]
    assert problem(epub(tmp_path / "a.epub", items, TWO)) == (
        "a.epub is damaged (its part OEBPS/gone.xhtml is missing): get an intact copy of it."
    )
    missing = '<itemref idref="nobody"/>'
    assert problem(epub(tmp_path / "b.epub", items[:1], TWO, missing=missing)) == (
        "b.epub is damaged (its reading order names nobody, which is missing): get an intact copy of it."
    )


def test_a_picture_in_the_reading_order_is_named_as_skipped(tmp_path: Path) -> None:
    items = [item(0, "cover.svg", "image/svg+xml"), item(1, "C2.xhtml")]
    path = epub(tmp_path / "a.epub", items, TWO | {"OEBPS/cover.svg": b"<svg/>"})
    with open_documents([str(path)]) as document:
        assert document.warnings == (f"Skipped in {path}: OEBPS/cover.svg, which is not a page of text.",)
