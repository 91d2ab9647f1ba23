"""A custom reader: three segments at once, then a turn that merges the notes."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from memagent import Budget, Segment
from memagent.core.prompts import NO_MEMORY, Prompts, request
from memagent.core.reading import Reading
from memagent.core.records import Memory
from memagent.readers.overwrite import answer, update

MERGE = "Problem: {prompt}\n\nMemory:\n{memory}\n\nNotes:\n{notes}\n\nThe memory with the notes:\n"


def threes(question: str, segments: Iterable[Segment], budget: Budget, prompts: Prompts) -> Reading:
    """Take notes on three segments at once, each with the same memory, then merge the notes into the memory."""
    memory, left = NO_MEMORY, iter(segments)
    while three := tuple(islice(left, 3)):
        written = yield tuple(update(question, memory, segment, budget, prompts) for segment in three)
        fields = {"prompt": question, "memory": memory, "notes": "\n".join(each.text for each in written)}
        memory = (yield request(MERGE, fields, budget.memory, None, memory, "merge")).text
        yield Memory(memory)
    return str((yield answer(question, memory, budget, prompts)).text)
