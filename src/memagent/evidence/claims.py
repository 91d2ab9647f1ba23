"""Split a memory into the facts that it states."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import fsum

from memagent.evidence.wording import Text, Word, sentences, words

_MARKS = re.compile(r"(?:[\s>|*#•‣·–—+_`-]|\d{1,3}[.)]\s)+")  # of lists, headings and tables
_CLAUSE = re.compile(r"[,;:()]\s|\s[(–—-]|\)|\s(?:and|und|et|y)\s|[，、；：]")
_PRESENT = 0.75  # share of a fact's bits that a passage of a memory needs if it is to count as the fact, reworded


@dataclass(frozen=True, slots=True, eq=False)
class Claim:
    """A sentence, line or list item of the last memory, or a clause of one. For a clause, `whole` is the full claim."""

    text: str
    words: tuple[Word, ...]
    whole: Claim | None = None

    def clauses(self) -> Iterator[Claim]:
        """Yield the claim's clauses that hold one of its numbers, or one of its names if it has no numbers."""
        parts = [part.strip() for part in _CLAUSE.split(self.text)]
        telling = {word.key for word in self.words if word.number} or {word.key for word in self.words if word.name}
        if self.whole or len(parts) == 1:
            return
        for part in parts:
            found = words(part)
            if any(word.key in telling for word in found):
                yield Claim(part, found, self)

    def shared(self, text: Text) -> float:
        """Return the total bits of the claim's words that are also in a text."""
        return fsum(word.bits for word in self.words if text.where(word))

    def stands_in(self, memory: Text) -> bool:
        """Return whether a memory states the claim, in the same words or reworded."""
        if len(self.text) > 20 and self.text in memory.text:  # a shorter text might be part of a word
            return True
        least = _PRESENT * fsum(word.bits for word in self.words)
        if self.shared(memory) < least:
            return False
        numbers = {word for word in self.words if word.number}
        return any(
            numbers <= found and fsum(word.bits for word in found) >= least
            for _, _, found in memory.windows(self.words)
        )


def claims_of(memory: str) -> Iterator[Claim]:
    """Yield the facts of a memory, each set of words once, because a model stuck in a loop repeats the same fact."""
    seen: set[frozenset[str]] = set()
    for line in memory.splitlines():
        for start, end in sentences(line):
            text = line[start:end]
            if marks := _MARKS.match(text):
                text = text[marks.end() :]
            text = text.rstrip("*_`| \t")
            found = words(text)
            keys = frozenset(word.key for word in found)
            if keys and keys not in seen and not text.endswith("?"):
                seen.add(keys)
                yield Claim(text, found)
