"""Two kinds of memory, each with its step from one memory to the next.

abstractive   what the model wrote, in its own words: the paper's way
extractive    quotes: of what it wrote, the lines that stand word for word in the section or in the memory before; a
              quote may have the heading of its paragraph before it, as in "Louvre: It was built in 1190."

A small model that is asked for several things writes ahead: the line it has again with the next key, or with a number
it made up. Of that nothing enters an extractive memory. It cannot count or sum up, though (RULER's cwe and fwe), and
what the border of two sections cuts through, it cannot quote.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable
from typing import Literal

from memagent.budget import Budget
from memagent.errors import WindowOverflow
from memagent.prompts import NO_MEMORY, NOTHING, Prompts
from memagent.reading import Reading, Step, overwrite, update
from memagent.records import Segment

Memory = Literal["abstractive", "extractive"]

LOOKS = 3
"""How often a section is read at most, as long as each look finds another quote."""

_BULLET = re.compile(r"[-*•]\s+")
_MARKS = {"“": "”", '"': '"', "«": "»", "„": "“"}


def extract(question: str, memory: str, segment: Segment, budget: Budget, prompts: Prompts) -> Reading:
    """The next memory, of quotes. A section that gave one is read again with it; what is found then must add to it."""
    for look in range(LOOKS):
        try:
            written = (yield update(question, memory, segment, budget, prompts)).text
        except WindowOverflow:
            if look:  # it is the memory that is too long for another look
                break
            raise
        before = [] if memory in (NO_MEMORY, NOTHING) else memory.splitlines()
        after = _quotes(written, before, segment.text)
        if look and not set(before) <= set(after):
            break
        memory = "\n".join(after) or NOTHING
        if set(after) <= set(before):
            break
    return memory


STEPS: dict[Memory, Step] = {"abstractive": overwrite, "extractive": extract}


def _quotes(written: str, memory: Collection[str], section: str) -> list[str]:
    """The lines that are lines of the memory or stand in the section, each once.

    White space counts for nothing, nor do a bullet before a line and quotation marks around it.
    """
    text, paragraphs = _squeezed(section), re.split(r"\n\s*\n|\f", section)
    lines = dict.fromkeys(map(_bare, written.splitlines()))
    return [line for line in lines if line and (line in memory or _stands(line, text) or _headed(line, paragraphs))]


def _headed(line: str, paragraphs: Iterable[str]) -> bool:
    """Whether it is "heading: quote", the quote from a paragraph that has the heading as its first or second line."""
    parts = [(line[: colon.start()], line[colon.end() :]) for colon in re.finditer(": ", line)]
    for paragraph in paragraphs if parts else ():
        lines = [line for line in map(_squeezed, paragraph.splitlines()) if line]
        for place, heading in enumerate(lines[:2], 1):
            for said, quote in parts:
                if said == heading and _stands(quote, " ".join(lines[place:])):
                    return True
    return False


def _bare(line: str) -> str:
    line = _squeezed(_BULLET.sub("", line.lstrip(), count=1))
    return line[1:-1].strip() if len(line) > 1 and _MARKS.get(line[0]) == line[-1] else line


def _squeezed(text: str) -> str:
    return " ".join(text.split())


def _stands(line: str, text: str) -> bool:
    """Whether the text has the line, and not as a piece of a longer word or number: 12 does not stand in 12.50.

    In a script without capitals (category Lo: Chinese, Arabic …), many of which write no spaces, also a piece counts.
    """
    first, last = line[0], line[-1]
    left = r"(?<!\w)" * _is_spaced(first) + r"(?<!\d[.,])" * first.isdigit()
    right = r"(?!\w)" * _is_spaced(last) + r"(?![.,]\d)" * last.isdigit()
    return re.search(left + re.escape(line) + right, text) is not None


def _is_spaced(char: str) -> bool:
    """Whether it is of a word, in a script with spaces between words."""
    return re.match(r"\w", char) is not None and unicodedata.category(char) != "Lo"
