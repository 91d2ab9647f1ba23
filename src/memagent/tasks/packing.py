"""Chooses paragraphs that fill a length in tokens. Each is counted once, and the counts are added up.

A byte-level tokenizer always splits before the first letter of a line. So the counts add up to the count of the whole
if each paragraph is counted from one "Document" to the next.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from memagent.core.tokenizer import Tokenizer, count, counts

_BATCH = 128  # distractors considered at a time


def document(paragraphs: Sequence[str]) -> tuple[str, list[int]]:
    """Return the paragraphs numbered from 1 as in RULER, and the offset of each in characters."""
    parts, starts, length = [], [], 0
    for number, text in enumerate(paragraphs, 1):
        head = f"Document {number}:\n"
        starts.append(length + len(head))
        parts.append(head + text)
        length += len(head) + len(text) + len("\n\n")
    return "\n\n".join(parts), starts


class Counts:
    """Token counts of the paragraphs in such a document, each computed when first asked for."""

    def __init__(self, tokenizer: Tokenizer, texts: Sequence[str]) -> None:
        self.tokenizer = tokenizer
        self._texts = texts
        self._tokens: dict[int, int] = {}
        self._next = count(tokenizer, "Document")
        self._heads = [0]

    def of(self, paragraphs: Sequence[int]) -> list[int]:
        """Return the tokens of each of these paragraphs, from the colon before it to the blank line after it."""
        missing = [paragraph for paragraph in paragraphs if paragraph not in self._tokens]
        texts = [f":\n{self._texts[paragraph]}\n\nDocument" for paragraph in missing]
        for paragraph, tokens in zip(missing, counts(self.tokenizer, texts), strict=True):
            self._tokens[paragraph] = tokens - self._next
        return [self._tokens[paragraph] for paragraph in paragraphs]

    def head(self, number: int) -> int:
        """Return the tokens of "Document {number}"."""
        while len(self._heads) <= number:
            self._heads.append(count(self.tokenizer, f"Document {len(self._heads)}"))
        return self._heads[number]


@dataclass(frozen=True, slots=True)
class Packed:
    """The chosen paragraphs, the tokens left (negative if there are too many), and whether all paragraphs were used."""

    chosen: list[int]
    left: int
    all: bool


def pack(gold: Sequence[int], distractors: Iterator[int], room: int, slack: int, counts: Counts) -> Packed:
    """Choose the gold paragraphs, then distractors in their order until one is too long.

    If more than `slack` tokens are then left, one of the next distractors is added, or replaces one of the last, so
    that fewer are left.
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
    """Change `chosen` so that at most `slack` tokens are left, if possible. Returns the number of tokens left.

    One of the others is added, or replaces the last chosen paragraph for which that works. If neither works, the first
    of the others that fits is added, and the search starts again.
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
