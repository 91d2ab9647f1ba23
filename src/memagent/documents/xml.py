"""Parse the XML inside an archive that may come from an untrusted source."""

from __future__ import annotations

from typing import Any

from lxml import etree

_DEEPEST = 200  # levels of nesting; the libraries that read the elements recurse


class BadXml(ValueError):
    """The content is not XML, or it is XML that only a malicious file would contain."""


def parsed(content: bytes, doctype: bool = False) -> Any:
    """Parse an XML file and return its root. Entities are not resolved, and nothing is fetched.

    Args:
        doctype: whether the file may declare a document type.

    Raises:
        BadXml: the file is damaged, declares a document type, or is nested too deeply.
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
