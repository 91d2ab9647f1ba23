"""What memories of quotes have in common: a quote a line, and how many tokens the quotes take."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from memagent.core.prompts import NO_MEMORY, NOTHING
from memagent.core.records import Segment

LOOKS = 3
"""How often a section is read at most, as long as each look finds another quote."""


def quotes_of(memory: str) -> list[str]:
    """The quotes in a memory, in its order."""
    return [] if memory in (NO_MEMORY, NOTHING) else memory.splitlines()


def joined(quotes: Iterable[str]) -> str:
    """A memory of these quotes."""
    return "\n".join(quotes) or NOTHING


def tokens_of(quotes: Collection[str], segment: Segment) -> int:
    """About how many tokens the quotes have, at as many characters a token as the segment has.

    A reading knows no tokenizer, and a journal has to give the same number again.
    """
    return sum(len(quote) + 1 for quote in quotes) * segment.tokens // max(len(segment.text), 1)
