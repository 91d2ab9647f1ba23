"""Read in order, then read again what the model says is missing (as in MemReread).

A fact may make sense only after a later one, when its segment has long been read. So at the end the model says whether
its memory answers the question, or what is missing. The segments that BM25 finds for that are read again.
"""

from __future__ import annotations

from collections.abc import Iterable

from memagent.core.budget import Budget
from memagent.core.prompts import Prompts
from memagent.core.reading import Reading
from memagent.core.records import Segment
from memagent.readers.check import Verdict
from memagent.readers.lookup import Lookup
from memagent.readers.styles import Style, concluded

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
    lookup, verdict, before = Lookup(pieces), Verdict(), None
    for left in range(TIMES, -1, -1):
        if memory == before:
            break  # the last look added nothing
        verdict = yield from style.check(question, memory, budget, prompts)
        if verdict.enough or not verdict.query or not left:
            break
        before, missing = memory, verdict.query
        asked = question if missing == question else f"{question}\nWhat is missing: {missing}"
        for number in lookup.best(f"{question}\n{missing}\n{memory}", BEST):
            memory = yield from style.memorize(asked, memory, pieces[number], budget, prompts)
    return (yield from concluded(question, memory, verdict, budget, prompts))
