"""Read all segments at the same time, then merge what was found (as in PI-Mem, arXiv 2608.03048).

Every segment is read with the same memory, and the model's notes on all of them are merged into the next memory. If
that memory does not answer the question, all segments are read again with it: the model may now see what a segment
adds.
"""

from __future__ import annotations

from collections.abc import Iterable

from memagent.core.budget import Budget
from memagent.core.prompts import Prompts
from memagent.core.reading import Reading, together
from memagent.core.records import Memory, Segment
from memagent.readers.overwrite import answer
from memagent.readers.styles import Style

ROUNDS = 3
"""Maximum number of times that a document is read, as in PI-Mem."""


def parallel(style: Style, question: str, segments: Iterable[Segment], budget: Budget, prompts: Prompts) -> Reading:
    """Read all segments at the same time, at most `ROUNDS` times, then answer from what was found."""
    pieces, memory = list(segments), style.empty
    longest = max(pieces, key=lambda piece: len(piece.text), default=None)
    for left in range(ROUNDS - 1, -1, -1):
        read = yield from together(style.memorize(question, memory, piece, budget, prompts) for piece in pieces)
        notes, before = [note for note in read if note != memory], memory
        if notes and longest:
            memory = yield from style.merge(question, memory, notes, longest, budget, prompts)
            memory = style.ordered(memory, pieces)
            yield Memory(memory)
        if memory == before or not left or (yield from style.check(question, memory, budget, prompts)).enough:
            break
    return str((yield answer(question, memory, budget, prompts)).text)
