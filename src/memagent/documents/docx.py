"""Rewrite a DOCX file so that the converter finds all the text that a person sees in Word.

The converter reads paragraphs, runs, tables, hyperlinks, notes and pictures. It drops every other element together with
the text in it. This module turns moved and inserted text, ruby, fields, direction and custom XML into plain runs. List
numbers, headers, footers and comments become text, and merged cells are filled.
"""

from __future__ import annotations

import io
import posixpath
import zipfile
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

from lxml import etree

from memagent.documents.docx_numbers import Numbers
from memagent.documents.docx_xml import child, children, every, like, name_of, text_of, unwrap, value
from memagent.documents.xml import BadXml, parsed

_DROPPED = ("del", "moveFrom", "rt", "rubyPr")
"""Elements whose text was deleted or moved elsewhere, or is printed above the line."""

_READ = {
    "document", "body", "p", "pPr", "r", "rPr", "t", "tab", "br", "noBreakHyphen", "softHyphen", "sym", "tbl", "tblPr",
    "tblGrid", "tr", "trPr", "tc", "tcPr", "object", "drawing", "pict", "txbxContent", "hyperlink", "fldChar",
    "instrText",
    "footnoteReference", "endnoteReference", "footnotes", "footnote", "endnotes", "endnote", "sdt", "sdtPr",
    "sdtContent", "sectPr", "hdr", "ftr", "comments", "comment",
}  # fmt: skip
"""Elements that the converter reads, and the elements that contain them."""

_WIDEST = 64  # columns; no table in Word has more
_RELATIONS = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}"
_STRICT_RELATIONS = "{http://purl.oclc.org/ooxml/officeDocument/relationships}"
_COMPATIBILITY = "{http://schemas.openxmlformats.org/markup-compatibility/2006}"


class Package:
    """The parts of a DOCX file by name, and the references between them."""

    def __init__(self, path: Path) -> None:
        with zipfile.ZipFile(path) as archive:
            self.parts = {_tidy(each.filename): archive.read(each) for each in archive.infolist()}
        self.main = next(self.related("", "officeDocument"), "word/document.xml")

    def related(self, name: str, kind: str) -> Iterator[str]:
        """Yield the names of the parts that the part `name` refers to as `kind` (header, styles, …)."""
        return (target for _, target, type_ in self.relations(name) if type_.endswith(f"/{kind}"))

    def relations(self, name: str) -> Iterator[tuple[str, str, str]]:
        """Yield the id, target and type of each reference in a part, except references outside the file."""
        folder, base = posixpath.split(name)
        file = posixpath.join(folder, "_rels", f"{base}.rels")
        for each in parsed(self.parts[file]) if file in self.parts else ():
            if isinstance(each.tag, str) and each.get("TargetMode") != "External":
                target = posixpath.normpath(posixpath.join("/", folder, each.get("Target", ""))).lstrip("/")
                yield each.get("Id", ""), target, each.get("Type", "")

    def xml(self, name: str, kind: str) -> Any:
        """Return the root of the part that `name` refers to as `kind`; None if there is none."""
        found = next((each for each in self.related(name, kind) if each in self.parts), None)
        return None if found is None else parsed(self.parts[found])

    def zipped(self) -> io.BytesIO:
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            for name, content in self.parts.items():
                archive.writestr(name, content)
        stream.seek(0)
        return stream


def rewritten(path: Path) -> tuple[io.BytesIO, list[str]]:
    """Return the rewritten file for the converter, and a phrase for each thing that was skipped.

    Raises:
        BadXml, KeyError, zipfile.BadZipFile: the file is damaged.
    """
    package = Package(path)
    root = parsed(package.parts[package.main])
    body = child(root, "body")
    if body is None:
        raise BadXml("it has no body")
    skipped = _embedded(body)
    _add_comments(package, body)
    _flatten(root)
    _number(package, body)
    _add_headers(package, root, body)
    for table in every(body, "tbl"):
        _fill(table)
    package.parts[package.main] = _written(root)
    for kind in ("footnotes", "endnotes"):
        for name in package.related(package.main, kind):
            if name in package.parts:
                notes = parsed(package.parts[name])
                _flatten(notes)
                package.parts[name] = _written(notes)
    return package.zipped(), skipped


def _tidy(name: str) -> str:
    return name.replace("\\", "/").lstrip("/")


def _written(root: Any) -> bytes:
    written: bytes = etree.tostring(root, xml_declaration=True, encoding="UTF-8", standalone=True)
    return written


def _flatten(root: Any) -> None:
    """Remove or unwrap the elements that the converter does not read."""
    for choice in list(root.iter(f"{_COMPATIBILITY}AlternateContent")):
        if not any(text_of(each) for each in choice if each.tag == f"{_COMPATIBILITY}Fallback"):
            _unbox(choice)
    for row in [each for each in every(root, "tr") if child(child(each, "trPr"), "del") is not None]:
        row.getparent().remove(row)
    for element in every(root, *_DROPPED):
        if element.getparent() is not None and name_of(element.getparent()) not in ("rPr", "trPr", "pPr"):
            element.getparent().remove(element)
    for element in every(root, "ruby"):
        run = element.getparent()
        base = [deepcopy(each) for each in every(element, "r")]
        place = run.getparent().index(run)
        run.remove(element)
        for number, each in enumerate(base):
            run.getparent().insert(place + number, each)
    for element in [each for each in root.iter() if name_of(each) and name_of(each) not in _READ]:
        if element.getparent() is not None and every(element, "t", "p"):
            unwrap(element)


def _unbox(choice: Any) -> None:
    """Replace a drawing by its text boxes. This is for drawings without a fallback that the converter reads."""
    boxes = every(choice, "txbxContent")
    place, parent = choice.getparent().index(choice), choice.getparent()
    for number, each in enumerate(boxes):
        parent.insert(place + number, each)
    if boxes:
        parent.remove(choice)


def _number(package: Package, body: Any) -> None:
    """Write list numbers in front of their paragraphs, as Word prints them."""
    numbers = Numbers(package.xml(package.main, "numbering"), package.xml(package.main, "styles"))
    for paragraph in every(body, "p"):
        label = numbers.of(paragraph)
        if label is None:
            continue
        properties = child(paragraph, "pPr")
        given = child(properties, "numPr")
        if given is not None:
            properties.remove(given)
        if label and text_of(paragraph):
            place = 0 if properties is None else paragraph.index(properties) + 1
            paragraph.insert(place, _run(paragraph, f"{label} "))


def _add_headers(package: Package, root: Any, body: Any) -> None:
    """Insert each distinct header once before the text, and each distinct footer once after it."""
    targets = {name: target for name, target, _ in package.relations(package.main)}
    for kind, place in (("headerReference", 0), ("footerReference", None)):
        seen: set[str] = set()
        found: list[Any] = []
        for reference in every(root, kind):
            name = reference.get(f"{_RELATIONS}id") or reference.get(f"{_STRICT_RELATIONS}id") or ""
            part = package.parts.get(targets.get(name, ""))
            if part is None:
                continue
            header = parsed(part)
            _flatten(header)
            text = text_of(header)
            if text.strip() and text not in seen:
                seen.add(text)
                found += [_plain(each, body) for each in every(header, "p") if text_of(each).strip()]
        last = child(body, "sectPr")
        at = place if place is not None else len(body) if last is None else body.index(last)
        for number, paragraph in enumerate(found):
            body.insert(at + number, paragraph)


def _add_comments(package: Package, body: Any) -> None:
    """Insert the text of each comment at the place of its reference."""
    comments = package.xml(package.main, "comments")
    said = {value(each, "id"): " ".join(map(text_of, every(each, "p"))) for each in children(comments, "comment")}
    for reference in every(body, "commentReference"):
        if text := said.get(value(reference, "id"), "").strip():
            run = reference.getparent()
            run.getparent().insert(run.getparent().index(run) + 1, _run(run, f" [Note: {text}]"))


def _embedded(body: Any) -> list[str]:
    many = len(every(body, "altChunk"))
    if not many:
        return []
    return ["an embedded document" if many == 1 else f"{many} embedded documents"]


def _run(near: Any, text: str) -> Any:
    run, words = like(near, "r"), like(near, "t")
    words.text = text
    words.set("{http://www.w3.org/XML/1998/namespace}space", "preserve")
    run.append(words)
    return run


def _plain(paragraph: Any, near: Any) -> Any:
    """Return a copy of a paragraph that has its text and no references to other parts."""
    plain = like(near, "p")
    plain.append(_run(near, text_of(paragraph)))
    return plain


def _fill(table: Any) -> None:
    """Copy the text of each merged cell into every cell that it covers."""
    above: dict[int, Any] = {}  # column -> the cell that continues in the rows below
    for row in children(table, "tr"):
        column = _number_of(child(child(row, "trPr"), "gridBefore"), 0)
        for cell in list(children(row, "tc")):
            properties = child(cell, "tcPr")
            merged, span = child(properties, "vMerge"), child(properties, "gridSpan")
            if merged is not None and value(merged) in ("", "continue") and column in above:
                for each in [each for each in cell if name_of(each) != "tcPr"]:
                    cell.remove(each)
                cell.extend(deepcopy(each) for each in above[column] if name_of(each) != "tcPr")
            elif merged is not None:
                above[column] = deepcopy(cell)
            else:
                above.pop(column, None)
            for each in (merged, span):
                if each is not None:
                    properties.remove(each)
            wide = min(max(_number_of(span, 1), 1), _WIDEST)
            for _ in range(wide - 1):
                cell.addnext(deepcopy(cell))
            column += wide


def _number_of(element: Any, default: int) -> int:
    text = value(element)
    return int(text) if text.isdecimal() else default
