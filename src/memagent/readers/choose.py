"""Merge memories of quotes, and choose the quotes to keep when a memory is too long."""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from typing import Any

from memagent.core.budget import Budget
from memagent.core.prompts import CHOOSE, NONE, NOTHING, Prompts, request
from memagent.core.reading import together
from memagent.core.records import Memory, Request, Segment
from memagent.errors import WindowOverflow
from memagent.readers.halving import Steps
from memagent.readers.quotes import groups_of, joined, quotes_of, tokens_of

Fitting = Generator[Request | tuple[Request, ...] | Memory, Any, list[str]]

CHOOSE_TOKENS = 64
"""Token limit of a reply with the numbers of the quotes to keep."""


def merge(question: str, memory: str, notes: Sequence[str], like: Segment, budget: Budget, prompts: Prompts) -> Steps:
    """Return one memory with the quotes of several memories, in their order. If it is too long, the model chooses.

    Args:
        notes: the other memories.
        like: a segment that has about as many tokens per character as the quotes.
    """
    quotes = list(dict.fromkeys(quote for each in (memory, *notes) for quote in quotes_of(each)))
    return joined((yield from fitted(question, quotes, None, like, budget)))


def fitted(question: str, quotes: list[str], segment: Segment | None, like: Segment, budget: Budget) -> Fitting:
    """Return quotes that fit the memory. If there are too many, the model chooses, group by group."""
    while tokens_of(quotes, like) > budget.memory:
        groups = list(groups_of(quotes, like, budget.segment + budget.memory))
        chosen = yield from together(_chosen(question, group, segment) for group in groups)
        left = [quote for each in chosen for quote in quotes_of(each)]
        if len(groups) == 1 or left == quotes:
            return _newest(left, like, budget)
        quotes = left
    return quotes


def _chosen(question: str, quotes: list[str], segment: Segment | None) -> Steps:
    """Return a memory of the quotes that the model chooses. If they do not fit a prompt, it chooses from each half."""
    try:
        reply = (yield choosing(question, joined(quotes), segment)).text
    except WindowOverflow:
        middle = len(quotes) // 2
        if not middle:
            return joined(quotes)
        first = yield from _chosen(question, quotes[:middle], segment)
        second = yield from _chosen(question, quotes[middle:], segment)
        return joined([*quotes_of(first), *quotes_of(second)])
    if reply.strip() == NONE:
        return NOTHING
    numbers = {int(number) for number in re.findall(r"\d{1,4}", reply)}
    return joined([quote for number, quote in enumerate(quotes, 1) if number in numbers] or quotes)


def choosing(question: str, memory: str, segment: Segment | None) -> Request:
    """Return the request for the numbers of the quotes to keep."""
    numbered = "\n".join(f"{number}. {quote}" for number, quote in enumerate(quotes_of(memory), 1))
    return request(CHOOSE, {"prompt": question, "quotes": numbered}, CHOOSE_TOKENS, segment, memory, "choose")


def _newest(quotes: list[str], like: Segment, budget: Budget) -> list[str]:
    """Return the last quotes that fit the memory; at least one, even if it is too long."""
    first = 0
    while first < len(quotes) - 1 and tokens_of(quotes[first:], like) > budget.memory:
        first += 1
    return quotes[first:]
