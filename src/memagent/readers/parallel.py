"""Read all segments at the same time, then merge what was found (as in PI-Mem, arXiv 2608.03048).

Every segment is read with the same memory. What the model wrote about them is merged into the next memory. If that does
not answer the question, all segments are read again with it, because now the model may see what a segment adds.
"""

from __future__ import annotations

from collections.abc import Iterable

from memagent.core.budget import Budget
from memagent.core.prompts import Prompts
from memagent.core.reading import Reading, together
from memagent.core.records import Memory, Segment
from memagent.readers.check import Verdict
from memagent.readers.styles import Style, concluded

ROUNDS = 3
"""Most times that a document is read, as in PI-Mem."""


def parallel(style: Style, question: str, segments: Iterable[Segment], budget: Budget, prompts: Prompts) -> Reading:
    """Read all segments at the same time, at most `ROUNDS` times, then answer from what was found."""
    pieces, memory, verdict = list(segments), style.empty, Verdict()
    for _ in range(ROUNDS):
        read = yield from together(style.memorize(question, memory, piece, budget, prompts) for piece in pieces)
        notes = [note for note in read if note != memory]
        if not notes:
            break
        longest = max(pieces, key=lambda piece: len(piece.text))
        memory = yield from style.merge(question, memory, notes, longest, budget, prompts)
        yield Memory(memory)
        verdict = yield from style.check(question, memory, budget, prompts)
        if verdict.enough:
            break
    return (yield from concluded(question, memory, verdict, budget, prompts))
