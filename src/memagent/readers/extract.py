"""A memory of quotes: the model writes the whole memory, but only lines from the document are kept.

A verified quote stays until the memory is full, whether or not the model copies it again. A line that was copied with a
slip is replaced by the sentence that it was meant to copy (`memagent.core.quoting`). A segment that gave a quote is
read again, with the quote in the memory, until a look adds nothing. A segment that gave only lines that were copied too
badly to mend is read once more in halves, because with the same prompt, the model would make the same mistakes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from memagent.core.budget import Budget
from memagent.core.prompts import NO_MEMORY, NOTHING, Prompts
from memagent.core.quoting import Section, bare
from memagent.core.reading import Reading
from memagent.core.records import Memory, Segment
from memagent.core.segments import halves
from memagent.errors import WindowOverflow
from memagent.readers.halving import Steps, in_halves
from memagent.readers.overwrite import answer, update
from memagent.readers.quotes import LOOKS, joined, quotes_of, tokens_of

CLOSER = 500
"""Least tokens of a segment that is read again in halves after a line that could not be mended."""


def extract(question: str, segments: Iterable[Segment], budget: Budget, prompts: Prompts) -> Reading:
    """Read the segments one by one, keeping quotes, then answer the question from the last memory alone."""
    memory = NO_MEMORY
    for segment in segments:
        memory = yield from memorize(question, memory, segment, budget, prompts)
    return str((yield answer(question, memory, budget, prompts)).text)


@in_halves
def memorize(question: str, memory: str, segment: Segment, budget: Budget, prompts: Prompts) -> Steps:
    section = Section(segment.text)
    for look in range(LOOKS):
        try:
            written = (yield update(question, memory, segment, budget, prompts)).text
        except WindowOverflow:
            if look:  # the memory is too long for another look
                return memory
            raise
        new, garbled = _new_quotes(written, quotes_of(memory), section)
        if look and not new:
            return memory
        memory = _with(memory, new, written, segment, budget)
        yield Memory(memory)
        if not new:
            break
    if garbled and not new and segment.tokens >= CLOSER:
        memory = yield from _closer(question, memory, segment, budget, prompts, section)
    return memory


def _closer(question: str, memory: str, segment: Segment, budget: Budget, prompts: Prompts, section: Section) -> Steps:
    """Look at a segment once more, half by half."""
    for kind, half in zip(("first half", "second half"), halves(segment), strict=True):
        shown = update(question, memory, half, budget, prompts)
        try:
            written = (yield replace(shown, segment=segment, kind=kind)).text
        except WindowOverflow:
            break
        new, _ = _new_quotes(written, quotes_of(memory), section)
        if new:
            memory = _with(memory, new, written, segment, budget)
            yield Memory(memory)
    return memory


def _with(memory: str, new: list[str], written: str, segment: Segment, budget: Budget) -> str:
    """Return the memory with the new quotes. If not all fit, drop old quotes that the model did not write again."""
    held = quotes_of(memory)
    if tokens_of(held + new, segment) > budget.memory:
        said = {bare(line) for line in written.splitlines()}
        held = [quote for quote in held if quote in said]
    return joined(held + new)


def _new_quotes(written: str, held: Collection[str], section: Section) -> tuple[list[str], bool]:
    """Return the quotes that are new to the memory, in the order written, and whether any line was not a quote."""
    lines = [line for line in written.splitlines() if bare(line) and bare(line) not in (*held, NOTHING, NO_MEMORY)]
    quotes = [section.find(line) or section.nearest(line) for line in lines]
    new = dict.fromkeys(quote[1] for quote in quotes if quote and quote[1] not in held)
    return list(new), None in quotes
