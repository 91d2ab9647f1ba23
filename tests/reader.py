"""An independent reader of RULER's samples, which finds the hidden facts in a text with patterns of its own."""

from __future__ import annotations

import re
from collections import Counter

NEEDLE = re.compile(r"One of the special magic (numbers|uuids|words) for (\S+) is: (\S+)\.(?=\s|$)")
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
ASSIGNMENT = re.compile(r"VAR ([A-Z]{5}) = (?:VAR ([A-Z]{5})|(\d{5}))(?=\s|$)")


def needles(document: str) -> list[tuple[str, str, str]]:
    """Return kind, key and value of every needle, in order."""
    return [(found[1], found[2], found[3]) for found in NEEDLE.finditer(document)]


def asked(question: str) -> list[str]:
    """Return the keys that a needle question asks for."""
    found = re.search(r"for ([^?]+) mentioned in the provided text\?", question)
    assert found is not None
    return [key.removeprefix("and ") for key in found[1].split(", ")]


def chain(document: str) -> dict[str, str]:
    """Return the value of each variable, following the assignments in order."""
    worth: dict[str, str] = {}
    for found in ASSIGNMENT.finditer(document):
        worth[found[1]] = found[3] or worth[found[2]]
    return worth


def listed(document: str) -> Counter[str]:
    """Return how often each word stands in a numbered list. The numbers must be 1, 2, 3 …"""
    entries = re.findall(r"(\d+)\. (\S+)", document)
    assert [int(number) for number, _ in entries] == list(range(1, len(entries) + 1))
    return Counter(word for _, word in entries)
