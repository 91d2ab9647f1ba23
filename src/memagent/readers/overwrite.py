"""The paper's loop (arXiv 2507.02259): the text that the model writes after each segment is the next memory.

Two departures from the paper. If the model writes nothing, the memory stays as it was, because an empty reply is a
failure, not a decision to forget. A segment that does not fit the window is read as two halves.
"""

from __future__ import annotations

from collections.abc import Iterable

from memagent.core.budget import Budget
from memagent.core.prompts import NO_MEMORY, Prompts, request
from memagent.core.reading import Reading
from memagent.core.records import Memory, Request, Segment
from memagent.readers.halving import Steps, in_halves


def overwrite(question: str, segments: Iterable[Segment], budget: Budget, prompts: Prompts) -> Reading:
    """Read the segments one by one, then answer the question from the last memory alone."""
    memory = NO_MEMORY
    for segment in segments:
        memory = yield from memorize(question, memory, segment, budget, prompts)
    return str((yield answer(question, memory, budget, prompts)).text)


@in_halves
def memorize(question: str, memory: str, segment: Segment, budget: Budget, prompts: Prompts) -> Steps:
    written = (yield update(question, memory, segment, budget, prompts)).text
    memory = written if written.strip() else memory
    yield Memory(memory)
    return memory


def update(question: str, memory: str, segment: Segment, budget: Budget, prompts: Prompts) -> Request:
    """Return the request that shows the question, the memory so far and one segment."""
    fields = {"prompt": question, "memory": memory, "chunk": segment.text}
    return request(prompts.update, fields, budget.memory, segment, memory)


def answer(question: str, memory: str, budget: Budget, prompts: Prompts) -> Request:
    """Return the request that shows the question and the memory, but nothing of the document."""
    fields = {"prompt": question, "memory": memory}
    return request(prompts.answer, fields, budget.answer, None, memory, "answer")
