"""Three kinds of memory, each with its step from one memory to the next.

abstractive   what the model wrote, in its own words: the paper's way
extractive    quotes: the model writes the whole memory, and only lines that stand in the document stay in it
collected     quotes: the model replies with new quotes or NONE, and never has to copy the old ones

A small model that is asked for several things writes ahead: the line it has again with the next key, or with a number
it made up. None of that enters a memory of quotes. Such a memory cannot count or sum up (RULER's cwe and fwe), and
a sentence that a border between two sections cuts through cannot be quoted whole.

A quote that was verified once is never copied again: it stays until the memory is full. A line that was copied with a
slip is replaced by the sentence it was meant to copy (`memagent.core.quoting`).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace
from typing import Literal

from memagent.core.budget import Budget
from memagent.core.prompts import CHOOSE, COLLECT, NO_MEMORY, NONE, NOTHING, Prompts, fill
from memagent.core.quoting import Section, bare
from memagent.core.records import Kind, Message, Request, Segment
from memagent.core.segments import halves
from memagent.errors import WindowOverflow
from memagent.readers.overwrite import Reading, Step, overwrite, update

Memory = Literal["abstractive", "extractive", "collected"]

LOOKS = 3
"""How often a section is read at most, as long as each look finds another quote."""

HALVES: tuple[Kind, Kind] = ("first half", "second half")

CLOSER = 500
"""Tokens of a section from which on it is read in halves after a line that could not be mended."""

CHOOSE_TOKENS = 64
"""Room for the numbers of the quotes that stay."""


def extract(question: str, memory: str, segment: Segment, budget: Budget, prompts: Prompts) -> Reading:
    """The next memory, of quotes. A section that gave one is read again with it, until a look adds nothing.

    A section that gave nothing but lines that were copied too badly to mend is read once more in halves: the same
    prompt would be copied as badly again.
    """
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
        if not new:
            break
    if not new and garbled and segment.tokens >= CLOSER:
        for kind in HALVES:
            try:
                written = (yield closer(question, memory, segment, budget, prompts, kind)).text
            except WindowOverflow:
                break
            new, _ = _new_quotes(written, quotes_of(memory), section)
            if new:
                memory = _with(memory, new, written, segment, budget)
    return memory


def closer(question: str, memory: str, segment: Segment, budget: Budget, prompts: Prompts, kind: Kind) -> Request:
    """Another look at half of a section."""
    half = halves(segment)[HALVES.index(kind)]
    return replace(update(question, memory, half, budget, prompts), segment=segment, kind=kind)


def collect(question: str, memory: str, segment: Segment, budget: Budget, prompts: Prompts) -> Reading:
    """The next memory: the quotes collected so far and those of this section, in the order of the document.

    A section that gave a quote is read again, because what stands beside the first find is easily passed over.
    """
    section = Section(segment.text)
    before = quotes_of(memory)
    found: dict[str, int] = {}  # each quote of this section, with its place
    for look in range(LOOKS):
        try:
            written = (yield collecting(question, memory, segment, budget)).text
        except WindowOverflow:
            if look:
                break
            raise
        new = {
            quote: place
            for place, quote in _sentences(written, question, section)
            if quote not in before and quote not in found
        }
        if not new:
            break
        found |= new
        memory = "\n".join([*before, *sorted(found, key=found.__getitem__)])
    quotes = quotes_of(memory)
    if tokens_of(quotes, segment) > budget.memory:
        reply = (yield choosing(question, memory, segment)).text
        quotes = _chosen(reply, quotes, segment, budget)
    return "\n".join(quotes) or NOTHING


STEPS: dict[Memory, Step] = {"abstractive": overwrite, "extractive": extract, "collected": collect}


def collecting(question: str, memory: str, segment: Segment, budget: Budget) -> Request:
    """Ask for the quotes of a section that are not collected yet."""
    shown = "\n".join(quotes_of(memory)) or NOTHING
    text = fill(COLLECT, prompt=question, memory=shown, chunk=segment.text)
    return Request((Message("user", text),), budget.memory, segment, memory)


def choosing(question: str, memory: str, segment: Segment) -> Request:
    """Ask which of the quotes stay, by their numbers."""
    numbered = "\n".join(f"{number}. {quote}" for number, quote in enumerate(quotes_of(memory), 1))
    text = fill(CHOOSE, prompt=question, memory=numbered)
    return Request((Message("user", text),), CHOOSE_TOKENS, segment, memory, "choose")


def quotes_of(memory: str) -> list[str]:
    """The quotes in a memory, in its order."""
    return [] if memory in (NO_MEMORY, NOTHING) else memory.splitlines()


def tokens_of(quotes: Collection[str], segment: Segment) -> int:
    """About how many tokens the quotes have, at as many characters a token as the segment has.

    A step knows no tokenizer, and a journal has to give the same number again.
    """
    return sum(len(quote) + 1 for quote in quotes) * segment.tokens // max(len(segment.text), 1)


def _chosen(reply: str, quotes: list[str], segment: Segment, budget: Budget) -> list[str]:
    """The quotes with the numbers in the reply, all where it has no number; of these the newest that fit."""
    if reply.strip() == NONE:
        return []
    numbers = {int(number) for number in re.findall(r"\d{1,4}", reply)}
    wanted = [quote for number, quote in enumerate(quotes, 1) if number in numbers] or quotes
    while len(wanted) > 1 and tokens_of(wanted, segment) > budget.memory:
        del wanted[0]
    return wanted


def _with(memory: str, new: list[str], written: str, segment: Segment, budget: Budget) -> str:
    """The memory with the new quotes; if there is no room for all, without those that the model did not write again."""
    held = quotes_of(memory)
    if tokens_of(held + new, segment) > budget.memory:
        said = {bare(line) for line in written.splitlines()}
        held = [quote for quote in held if quote in said]
    return "\n".join(held + new) or NOTHING


def _new_quotes(written: str, held: Collection[str], section: Section) -> tuple[list[str], bool]:
    """The quotes among the lines that the memory does not hold, as they were written; whether a line was none."""
    lines = [line for line in written.splitlines() if bare(line) and bare(line) not in (*held, NOTHING, NO_MEMORY)]
    quotes = [section.find(line) or section.nearest(line) for line in lines]
    new = dict.fromkeys(quote[1] for quote in quotes if quote and quote[1] not in held)
    return list(new), None in quotes


def _sentences(written: str, question: str, section: Section) -> list[tuple[int, str]]:
    """The sentences in which the quotes of a completion stand, each once, with their places in the section."""
    found: dict[str, int] = {}
    for line in written.splitlines():
        if quote := section.sentence(line, question):
            found.setdefault(quote[1], quote[0])
    return [(place, quote) for quote, place in found.items()]
