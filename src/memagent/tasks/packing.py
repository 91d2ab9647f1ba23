"""Which paragraphs fill a length in tokens: each is counted once, and their counts added up.

A byte-level tokenizer splits a text before the first letter of a line, whatever comes before it. Counted from one
"Document" to the next, the tokens of the paragraphs therefore add up to those of the whole.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from memagent.core.tokenizer import Tokenizer, count, counts

_BATCH = 128  # distractors looked at once


def document(paragraphs: Sequence[str]) -> tuple[str, list[int]]:
    """The paragraphs as RULER numbers them from 1, and where each begins, in characters."""
    parts, starts, length = [], [], 0
    for number, text in enumerate(paragraphs, 1):
        head = f"Document {number}:\n"
        starts.append(length + len(head))
        parts.append(head + text)
        length += len(head) + len(text) + len("\n\n")
    return "\n\n".join(parts), starts


class Counts:
    """Tokens of paragraphs in such a document, counted when first asked for."""

    def __init__(self, tokenizer: Tokenizer, texts: Sequence[str]) -> None:
        self.tokenizer = tokenizer
        self._texts = texts
        self._tokens: dict[int, int] = {}
        self._next = count(tokenizer, "Document")
        self._heads = [0]

    def of(self, paragraphs: Sequence[int]) -> list[int]:
        """Tokens of each of these paragraphs, from the colon before it to the blank line after it."""
        missing = [paragraph for paragraph in paragraphs if paragraph not in self._tokens]
        texts = [f":\n{self._texts[paragraph]}\n\nDocument" for paragraph in missing]
        for paragraph, tokens in zip(missing, counts(self.tokenizer, texts), strict=True):
            self._tokens[paragraph] = tokens - self._next
        return [self._tokens[paragraph] for paragraph in paragraphs]

    def head(self, number: int) -> int:
        """Tokens of "Document 7"."""
        while len(self._heads) <= number:
            self._heads.append(count(self.tokenizer, f"Document {len(self._heads)}"))
        return self._heads[number]


@dataclass(frozen=True, slots=True)
class Packed:
    """The paragraphs chosen, the tokens of room left (below 0: too many already), and whether none is left over."""

    chosen: list[int]
    left: int
    all: bool


def pack(gold: Sequence[int], distractors: Iterator[int], room: int, slack: int, counts: Counts) -> Packed:
    """The gold paragraphs, and distractors in their order until the next is too long.

    If more than `slack` tokens are left then, one of the next distractors is added, or takes the place of one of the
    last, so that fewer are left.
    """
    chosen = list(gold)
    heads = sum(counts.head(number) for number in range(1, len(chosen) + 1))
    left = room - heads - sum(counts.of(chosen))
    while batch := list(islice(distractors, _BATCH)):
        for place, (paragraph, tokens) in enumerate(zip(batch, counts.of(batch), strict=True)):
            needed = tokens + counts.head(len(chosen) + 1)
            if needed > left:
                if left > slack:
                    others = batch[place:] + list(islice(distractors, _BATCH))
                    left = _complete(chosen, len(gold), others, left, slack, counts)
                return Packed(chosen, left, False)
            chosen.append(paragraph)
            left -= needed
    return Packed(chosen, left, True)


def _complete(chosen: list[int], gold: int, others: list[int], left: int, slack: int, counts: Counts) -> int:
    """Change the chosen so that at most `slack` tokens are left, if that can be. Returns how many are left.

    One of the others is added, or put in the place of a chosen one, the last that allows it; where neither will do,
    the first that fits is added, and then again.
    """
    while True:
        ordered = sorted(zip(counts.of(others), others, strict=True))
        head = counts.head(len(chosen) + 1)
        rooms = [(len(chosen), left - head)]
        rooms += [(place, left + counts.of([chosen[place]])[0]) for place in range(len(chosen) - 1, gold - 1, -1)]
        for place, room in rooms:
            nearest = bisect_right(ordered, room, key=lambda pair: pair[0]) - 1
            if nearest >= 0 and room - ordered[nearest][0] <= slack:
                tokens, chosen[place : place + 1] = ordered[nearest][0], [ordered[nearest][1]]
                return room - tokens
        fitting = [paragraph for paragraph in others if counts.of([paragraph])[0] + head <= left]
        if not fitting:
            return left
        chosen.append(fitting[0])
        others.remove(fitting[0])
        left -= counts.of([fitting[0]])[0] + head
