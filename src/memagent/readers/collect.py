"""A memory that collects quotes: from each segment the model copies new quotes, or replies NONE.

The model never has to copy old quotes, and answers from all quotes in the order of the document. A segment that gave a
quote is read again, because the model easily misses facts next to the first one. When the memory is full, one turn
is spent on choosing the quotes that stay: the paper's overwriting, applied to quotes.
"""

from __future__ import annotations

from collections.abc import Iterable

from memagent.core.budget import Budget
from memagent.core.prompts import COLLECT, NO_MEMORY, Prompts, request
from memagent.core.quoting import Section
from memagent.core.reading import Reading
from memagent.core.records import Memory, Request, Segment
from memagent.errors import WindowOverflow
from memagent.readers.choose import fitted
from memagent.readers.halving import Steps, in_halves
from memagent.readers.overwrite import answer
from memagent.readers.quotes import LOOKS, joined, quotes_of


def collect(question: str, segments: Iterable[Segment], budget: Budget, prompts: Prompts) -> Reading:
    """Collect quotes from the segments one by one, then answer the question from the quotes alone."""
    memory = NO_MEMORY
    for segment in segments:
        memory = yield from memorize(question, memory, segment, budget, prompts)
    return str((yield answer(question, memory, budget, prompts)).text)


@in_halves
def memorize(question: str, memory: str, segment: Segment, budget: Budget, prompts: Prompts) -> Steps:
    section = Section(segment.text)
    before = quotes_of(memory)
    found: dict[str, int] = {}  # each quote of this segment, with its place
    for look in range(LOOKS):
        try:
            written = (yield collecting(question, memory, segment, budget)).text
        except WindowOverflow:
            if look:
                break
            raise
        quotes = _sentences(written, question, section)
        new = {quote: place for place, quote in quotes if quote not in before and quote not in found}
        if not new:
            break
        found |= new
        memory = joined([*before, *sorted(found, key=found.__getitem__)])
        yield Memory(memory)
    memory = joined((yield from fitted(question, quotes_of(memory), segment, segment, budget)))
    yield Memory(memory)
    return memory


def collecting(question: str, memory: str, segment: Segment, budget: Budget) -> Request:
    """Return the request for quotes from a segment that are not collected yet."""
    fields = {"prompt": question, "memory": joined(quotes_of(memory)), "chunk": segment.text}
    return request(COLLECT, fields, budget.memory, segment, memory)


def _sentences(written: str, question: str, section: Section) -> list[tuple[int, str]]:
    """Return the sentences that hold the quotes of a completion, each once, with their places in the segment."""
    found: dict[str, int] = {}
    for line in written.splitlines():
        if quote := section.sentence(line, question):
            found.setdefault(quote[1], quote[0])
    return [(place, quote) for quote, place in found.items()]
