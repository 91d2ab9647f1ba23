"""Parse the XML inside an archive, which may come from anybody."""

from __future__ import annotations

from typing import Any

from lxml import etree

_DEEPEST = 200  # elements within each other: the libraries that read them recurse


class BadXml(ValueError):
    """It is no XML, or XML that no honest program writes."""


def parsed(content: bytes, doctype: bool = False) -> Any:
    """The root of an XML file. Entities are not followed, and nothing is fetched.

    Args:
        doctype: whether it may declare a document type.

    Raises:
        BadXml: it is damaged, declares a document type, or is nested too deeply.
    """
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(content, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise BadXml(str(error)) from error
    if root.getroottree().docinfo.doctype and not doctype:
        raise BadXml("it declares a document type")
    if _depth(root) > _DEEPEST:
        raise BadXml("it is nested too deeply")
    return root


def _depth(root: Any) -> int:
    depth = deepest = 0
    for event, _ in etree.iterwalk(root, events=("start", "end")):
        depth += 1 if event == "start" else -1
        deepest = max(deepest, depth)
    return deepest
