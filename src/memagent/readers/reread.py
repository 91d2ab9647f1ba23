"""Read in order, then read some segments again to find what is missing (as in MemReread).

A later fact may show that an earlier one matters, but the segment of the earlier one has been read by then. So at the
end, the model says whether its memory answers the question, or what is missing. BM25 finds segments for what is
missing, and those are read again.
"""

from __future__ import annotations

from collections.abc import Iterable

from memagent.core.budget import Budget
from memagent.core.prompts import Prompts
from memagent.core.reading import Reading
from memagent.core.records import Memory, Segment
from memagent.readers.lookup import Lookup
from memagent.readers.overwrite import answer
from memagent.readers.styles import Style

BEST = 4
"""Maximum number of segments that are read again after a check."""
TIMES = 2
"""Maximum number of times that segments are read again."""


def reread(style: Style, question: str, segments: Iterable[Segment], budget: Budget, prompts: Prompts) -> Reading:
    """Read the segments one by one, then again those that BM25 finds for what is missing, then answer."""
    pieces, memory = [], style.empty
    for segment in segments:
        pieces.append(segment)
        memory = yield from style.memorize(question, memory, segment, budget, prompts)
    lookup = Lookup(pieces)
    for _ in range(TIMES):
        verdict = yield from style.check(question, memory, budget, prompts)
        if verdict.enough or not verdict.query:
            break
        before = memory
        asked = f"{question}\nWhat is missing: {verdict.missing}" if verdict.missing else question
        for number in lookup.best(verdict.query, BEST):
            memory = yield from style.memorize(asked, memory, pieces[number], budget, prompts)
        if memory == before:
            break
        memory = style.ordered(memory, pieces)
        yield Memory(memory)
    return str((yield answer(question, memory, budget, prompts)).text)
