"""Read the segments that BM25 finds for the question, then let the model decide whether to look further.

The best segments are read in the order of the document. Then the model says whether its memory answers the question, or
what else to look for (as in InfMem, arXiv 2602.02704). Even if a memory of quotes answers the question, its words are
searched for until a look finds nothing more, because an answer may have several parts or lead to the next fact. After a
few looks without an answer, or if the model cannot say what to look for, the rest is read in order.
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
"""Maximum number of segments that are read in one look."""
LOOKS = 3
"""Maximum number of looks before the rest is read in order."""


def search(style: Style, question: str, segments: Iterable[Segment], budget: Budget, prompts: Prompts) -> Reading:
    """Read what BM25 finds, look by look, and the rest if it is needed. Then answer from the memory."""
    pieces = list(segments)
    lookup, unread = Lookup(pieces), dict(enumerate(pieces))
    memory, query, looks, enough = style.empty, question, 0, False
    while unread:
        found = lookup.best(query, BEST, unread) if query and looks < LOOKS else []
        if enough and not found:
            break
        before, looks = memory, looks + 1
        for number in found or [min(unread)]:
            memory = yield from style.memorize(question, memory, unread.pop(number), budget, prompts)
        if memory != before:
            memory = style.ordered(memory, [piece for number, piece in enumerate(pieces) if number not in unread])
            yield Memory(memory)
        if memory != before and unread:
            verdict = yield from style.check(question, memory, budget, prompts)
            query, enough = f"{question}\n{verdict.query}" if verdict.query else "", verdict.enough
        elif enough:  # this look found nothing more
            break
    return str((yield answer(question, memory, budget, prompts)).text)
