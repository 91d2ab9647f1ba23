"""Two kinds of memory, each with its step from one memory to the next.

abstractive   what the model wrote, in its own words: the paper's way
extractive    quotes: of what it wrote, the lines that stand word for word in the section or in the memory before; a
              quote may have the heading of its paragraph before it, as in "Louvre: It was built in 1190."

A small model that is asked for several things writes ahead: the line it has again with the next key, or with a number
it made up. In an extractive memory nothing can stand that the text does not say.
"""

from __future__ import annotations

import re
from typing import Literal

from memagent.budget import Budget
from memagent.prompts import NOTHING, Prompts
from memagent.reading import Reading, Step, overwrite, update
from memagent.records import Segment

Memory = Literal["abstractive", "extractive"]

LOOKS = 3
"""How often a section is read at most, as long as each look finds another quote: see LOG.md for what it is worth."""


def extract(question: str, memory: str, segment: Segment, budget: Budget, prompts: Prompts) -> Reading:
    """The next memory, of quotes. A section that gave one is read again with it; what is found then must add to it."""
    for look in range(LOOKS):
        written = (yield update(question, memory, segment, budget, prompts)).text
        before, after = memory.splitlines(), _quotes(written, memory, segment.text)
        if look and not set(before) <= set(after):
            break
        memory = "\n".join(after) or NOTHING
        if set(after) <= set(before):
            break
    return memory


STEPS: dict[Memory, Step] = {"abstractive": overwrite, "extractive": extract}


def _quotes(written: str, memory: str, section: str) -> list[str]:
    """The lines that are lines of the memory or stand in the section, each once; white space counts for nothing."""
    before, text = _lines(memory), _squeezed(section)
    return [line for line in _lines(written) if line in before or _stands(line, text) or _headed(line, section)]


def _headed(line: str, section: str) -> bool:
    """Whether it is "heading: quote", the quote from the paragraph that the heading is a line of."""
    parts = [(line[: colon.start()], line[colon.end() :]) for colon in re.finditer(": ", line)]
    for paragraph in re.split(r"\n\s*\n", section) if parts else ():
        lines = list(_lines(paragraph))
        for heading, quote in parts:
            if heading in lines and _stands(quote, " ".join(lines[lines.index(heading) + 1 :])):
                return True
    return False


def _lines(text: str) -> dict[str, None]:
    """Those that are not empty, in order, each once."""
    return dict.fromkeys(filter(None, map(_squeezed, text.splitlines())))


def _squeezed(text: str) -> str:
    return " ".join(text.split())


def _stands(line: str, text: str) -> bool:
    """Whether the text has the line, and not as a piece of longer words: 1234 does not stand in 12345."""
    start = text.find(line)
    while start >= 0:
        end = start + len(line)
        if not (_one_word(text[start - 1 : start + 1]) or _one_word(text[end - 1 : end + 1])):
            return True
        start = text.find(line, start + 1)
    return False


def _one_word(border: str) -> bool:
    """Of two neighbouring characters."""
    return len(border) == 2 and border.isalnum()
