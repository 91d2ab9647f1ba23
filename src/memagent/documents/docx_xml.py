"""Helpers for the XML of a DOCX file that work with both of its namespaces, transitional and strict."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lxml import etree

MAIN = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_STRICT = "http://purl.oclc.org/ooxml/wordprocessingml/main"


def name_of(element: Any) -> str:
    """Return the name of a WordprocessingML element without its namespace; "" for any other element."""
    if not isinstance(element.tag, str):  # a comment
        return ""
    name = etree.QName(element)
    return name.localname if name.namespace in (MAIN, _STRICT) else ""


def children(parent: Any, name: str) -> Iterator[Any]:
    """Yield the direct children with that name; nothing if `parent` is None."""
    return (each for each in (() if parent is None else parent) if name_of(each) == name)


def child(parent: Any, name: str) -> Any:
    """Return the first direct child with that name, or None."""
    return next(children(parent, name), None)


def every(root: Any, *names: str) -> list[Any]:
    """Return all elements with these names in document order. It is a list, so that callers may change the tree."""
    return [each for each in root.iter() if name_of(each) in names]


def value(element: Any, name: str = "val") -> str:
    """Return the value of an attribute, by default w:val; "" if it is missing."""
    if element is None:
        return ""
    return str(element.get(f"{{{MAIN}}}{name}") or element.get(f"{{{_STRICT}}}{name}") or "")


def like(element: Any, name: str) -> Any:
    """Return a new element with that name, in the namespace of `element`."""
    return etree.Element(f"{{{etree.QName(element).namespace}}}{name}")


def text_of(element: Any) -> str:
    return "".join(each.text or "" for each in every(element, "t"))


def unwrap(element: Any) -> None:
    """Replace an element by its children."""
    parent = element.getparent()
    place = parent.index(element)
    for number, each in enumerate(list(element)):
        parent.insert(place + number, each)
    parent.remove(element)
