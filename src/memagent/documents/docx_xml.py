"""Look into the XML of a DOCX file, whichever of the two namespaces it is written in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lxml import etree

MAIN = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_STRICT = "http://purl.oclc.org/ooxml/wordprocessingml/main"


def name_of(element: Any) -> str:
    """The name of a WordprocessingML element without its namespace; "" for any other."""
    if not isinstance(element.tag, str):  # a comment
        return ""
    name = etree.QName(element)
    return name.localname if name.namespace in (MAIN, _STRICT) else ""


def children(parent: Any, name: str) -> Iterator[Any]:
    """The direct children of that name; none of None."""
    return (each for each in (() if parent is None else parent) if name_of(each) == name)


def child(parent: Any, name: str) -> Any:
    """The first of them, or None."""
    return next(children(parent, name), None)


def every(root: Any, *names: str) -> list[Any]:
    """All elements of these names below `root`, in the order of the document. A list: the tree may then be changed."""
    return [each for each in root.iter() if name_of(each) in names]


def value(element: Any, name: str = "val") -> str:
    """An attribute, by default w:val; "" where there is none."""
    if element is None:
        return ""
    return str(element.get(f"{{{MAIN}}}{name}") or element.get(f"{{{_STRICT}}}{name}") or "")


def like(element: Any, name: str) -> Any:
    """A new element of that name in the namespace of another."""
    return etree.Element(f"{{{etree.QName(element).namespace}}}{name}")


def text_of(element: Any) -> str:
    return "".join(each.text or "" for each in every(element, "t"))


def unwrap(element: Any) -> None:
    """Put an element's children in its place."""
    parent = element.getparent()
    place = parent.index(element)
    for number, each in enumerate(list(element)):
        parent.insert(place + number, each)
    parent.remove(element)
