"""Read in order, then read again what the model says is missing (as in MemReread).

A fact may make sense only after a later one, when its segment has long been read. So at the end the model says whether
its memory answers the question, or what is missing. The segments that BM25 finds for that are read again.
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
"""Number of segments that are read again for each thing that is missing."""
TIMES = 2
"""Most times that segments are read again."""


def reread(style: Style, question: str, segments: Iterable[Segment], budget: Budget, prompts: Prompts) -> Reading:
    """Read the segments one by one, then read again what BM25 finds for what is missing, then answer."""
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
