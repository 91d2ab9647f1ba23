"""Compute the numbers that Word prints before list paragraphs. A DOCX file contains only the rules for them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from memagent.documents.docx_xml import child, children, value

_LEVELS = 9  # levels of a list
_ROMAN = ((1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl"), (10, "x"),
          (9, "ix"), (5, "v"), (4, "iv"), (1, "i"))  # fmt: skip
_LARGEST_ROMAN = 3999


@dataclass(slots=True)
class _Level:
    start: int = 1
    format: str = "decimal"
    text: str = ""
    legal: bool = False
    """Whether all numbers in the label are printed as decimals."""
    restarts: bool = True


@dataclass(slots=True)
class _List:
    """The levels of a list and their current counts."""

    levels: list[_Level]
    counts: list[int | None] = field(default_factory=lambda: [None] * _LEVELS)

    def next(self, level: int) -> str | None:
        """Count a paragraph of this level and return the label printed before it; None for a bullet."""
        for deeper in range(level + 1, _LEVELS):
            if self.levels[deeper].restarts:
                self.counts[deeper] = None
        count = self.counts[level]
        self.counts[level] = self.levels[level].start if count is None else count + 1
        this = self.levels[level]
        if this.format == "bullet":
            return None
        return re.sub(r"%([1-9])", lambda match: self._number(int(match[1]) - 1, this.legal), this.text)

    def _number(self, level: int, legal: bool) -> str:
        count = self.counts[level]
        number = self.levels[level].start if count is None else count
        return _formatted(number, "decimal" if legal else self.levels[level].format)


class Numbers:
    """Counts the list paragraphs of a document. Pass the paragraphs to `of` in document order.

    Args:
        numbering, styles: the roots of numbering.xml and styles.xml; None if the file lacks them.
    """

    def __init__(self, numbering: Any, styles: Any) -> None:
        self._lists: dict[str, _List] = {}  # by w:abstractNumId
        self._of: dict[str, str] = {}  # w:numId -> w:abstractNumId
        self._overrides: dict[str, dict[int, int]] = defaultdict(dict)  # w:numId -> level -> start
        self._styles: dict[str, Any] = {}
        for each in children(numbering, "abstractNum"):
            levels = [_Level() for _ in range(_LEVELS)]
            for number, level in _levels(each):
                levels[number] = _level(level)
            self._lists[value(each, "abstractNumId")] = _List(levels)
        for each in children(numbering, "num"):
            name = value(each, "numId")
            self._of[name] = value(child(each, "abstractNumId"))
            for number, override in _levels(each, "lvlOverride"):
                if start := value(child(override, "startOverride")):
                    self._overrides[name][number] = int(start)
        for each in children(styles, "style"):
            self._styles[value(each, "styleId")] = each

    def of(self, paragraph: Any) -> str | None:
        """Return the label printed before a paragraph; None if there is no label, or only a bullet."""
        name, level = self._place(child(paragraph, "pPr"))
        found = self._lists.get(self._of.get(name or "", ""))
        if found is None or not 0 <= level < _LEVELS:
            return None
        for number, start in self._overrides.pop(name or "", {}).items():  # the first paragraph of a new list
            found.levels[number].start, found.counts[number] = start, None
        return found.next(level)

    def _place(self, properties: Any) -> tuple[str | None, int]:
        """Return the list and the level of a paragraph, from the paragraph itself or from its style."""
        name, level = _numbered(properties)
        style = value(child(properties, "pStyle"))
        for _ in range(_LEVELS):
            if (name is not None and level is not None) or style not in self._styles:
                break
            own = _numbered(child(self._styles[style], "pPr"))
            name, level = own[0] if name is None else name, own[1] if level is None else level
            style = value(child(self._styles[style], "basedOn"))
        return name, level or 0


def _numbered(properties: Any) -> tuple[str | None, int | None]:
    given = child(properties, "numPr")
    name, level = value(child(given, "numId")), value(child(given, "ilvl"))
    return name or None, int(level) if level.isdecimal() else None


def _levels(parent: Any, kind: str = "lvl") -> Iterator[tuple[int, Any]]:
    for each in children(parent, kind):
        number = value(each, "ilvl")
        if number.isdecimal() and int(number) < _LEVELS:
            yield int(number), each


def _level(level: Any) -> _Level:
    start = value(child(level, "start"))
    return _Level(
        start=int(start) if start.isdecimal() else 1,
        format=value(child(level, "numFmt")) or "decimal",
        text=value(child(level, "lvlText")),
        legal=child(level, "isLgl") is not None,
        restarts=value(child(level, "lvlRestart")) != "0",
    )


def _formatted(number: int, style: str) -> str:
    if style in ("lowerLetter", "upperLetter") and number > 0:
        letters = chr(ord("a") + (number - 1) % 26) * ((number - 1) // 26 + 1)  # … z, aa, bb
        return letters.upper() if style == "upperLetter" else letters
    if style in ("lowerRoman", "upperRoman") and 0 < number <= _LARGEST_ROMAN:
        letters, left = "", number
        for size, sign in _ROMAN:
            letters += sign * (left // size)
            left %= size
        return letters.upper() if style == "upperRoman" else letters
    if style == "none":
        return ""
    return f"{number:02}" if style == "decimalZero" else str(number)
