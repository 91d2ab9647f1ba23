"""Helpers for memories of quotes, which hold one quote per line."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from memagent.core.prompts import NO_MEMORY, NOTHING
from memagent.core.quoting import squeezed
from memagent.core.records import Segment

LOOKS = 3
"""Maximum number of times that a segment is read. It is read again only if the last look found another quote."""


def quotes_of(memory: str) -> list[str]:
    """Return the quotes in a memory, in order."""
    return [] if memory in (NO_MEMORY, NOTHING) else memory.splitlines()


def joined(quotes: Iterable[str]) -> str:
    """Return the memory that holds these quotes."""
    return "\n".join(quotes) or NOTHING


def tokens_of(quotes: Collection[str], segment: Segment) -> int:
    """Estimate the number of tokens in the quotes from the segment's characters per token.

    A reading has no tokenizer, and replaying a journal must give the same number again.
    """
    return sum(len(quote) + 1 for quote in quotes) * segment.tokens // max(len(segment.text), 1)


def in_document_order(memory: str, read: Sequence[Segment]) -> str:
    """Return the memory with its quotes in the order of the document.

    Args:
        read: the segments that were read, in any order. Quotes that are in none of them come last.
    """
    texts = [squeezed(segment.text) for segment in sorted(read, key=lambda segment: segment.start)]

    def place(quote: str) -> tuple[int, int]:
        found = ((number, text.find(quote)) for number, text in enumerate(texts))
        return next(((number, at) for number, at in found if at >= 0), (len(texts), 0))

    return joined(sorted(quotes_of(memory), key=place))


def groups_of(texts: Iterable[str], like: Segment, tokens: int) -> Iterator[list[str]]:
    """Yield the texts in groups of at most `tokens` tokens, by estimate, but of at least two texts.

    The last group may have only one text.

    Args:
        like: a segment that has about as many tokens per character as the texts.
    """
    group: list[str] = []
    for text in texts:
        if len(group) > 1 and tokens_of([*group, text], like) > tokens:
            yield group
            group = []
        group.append(text)
    yield group
