"""RULER's two counting tasks.

cwe:  1. bequeath 2. ginger 3. bequeath 4. … What are the 10 most common words in the above list?
fwe:  qzkvwe ... ... uhbdnl ... qzkvwe … What are the three most frequently appeared words in the above coded text?

A perfect reader holds a tally: the most frequent words so far, with their counts. The whole prompt of cwe begins with
a short example, which a memory agent does not see.
"""

from __future__ import annotations

import math
import random
import re
import string
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from memagent.core.prompts import NOTHING
from memagent.core.records import Segment
from memagent.core.tokenizer import Tokenizer
from memagent.errors import UsageError
from memagent.tasks.example import Example, Fact, Length, Unit, generator
from memagent.tasks.fitting import TooShort, fit, sample_tokens
from memagent.tasks.templates import CWE, CWE_PREFIX, FWE, FWE_PREFIX
from memagent.tasks.vocabulary import distinct, nouns_adjectives_verbs

_ENTRY = re.compile(r"\d+\. (\S+)")
_CODED = re.compile(r"[a-z]+")
_ZETA_2 = math.pi**2 / 6  # zeta(2): dividing by it makes the frequencies of fwe add up to 1


@dataclass(frozen=True, slots=True)
class CommonWords:
    """cwe: ten common words among uncommon ones, in a numbered list.

    Args:
        words: words to draw from; if empty, those of wonderwords. The number of words limits the length.
        held: number of words in the tally of the ideal memory.
    """

    name: str = "cwe"
    words: Sequence[str] = ()
    common: int = 10
    held: int = 20
    metrics: tuple[str, ...] = ("string_match_all", "boxed_all")
    answer_tokens: int = 120
    size: None = None
    units: tuple[Unit, ...] = ("tokens",)
    placed: bool = False
    together: int = 1

    def example(self, length: Length, number: int, seed: int, tokenizer: Tokenizer) -> Example:
        """Draw an example with ten words 30 times each and the rest 3 times.

        Under 4,096 tokens, or if that is too long, it has ten words 6 times each and the rest once.
        """
        if length.value >= 4096:
            try:
                return self._example(length, number, seed, tokenizer, (30, 3), (40, 10, 3))
            except TooShort:
                pass
        return self._example(length, number, seed, tokenizer, (6, 1), (20, 3, 1))

    def _example(
        self,
        length: Length,
        number: int,
        seed: int,
        tokenizer: Tokenizer,
        times: tuple[int, int],
        shot: tuple[int, int, int],
    ) -> Example:
        """Build an example.

        Args:
            times: how often each common word appears, and how often each other word.
            shot: number of words in the in-context example, and `times` for that example.
        """
        draw = generator(self.name, length, number, seed)
        words = self.words or nouns_adjectives_verbs()
        if len(words) < shot[0]:
            raise UsageError(f"There are {len(words):,} words, too few for {self.name}: give more with --words.")
        shot_words = draw.sample(words, shot[0])
        shot_list = self._listed(shot_words, *shot[1:], draw)
        before = CWE.replace("{context}", shot_list) + CWE_PREFIX + " " + _numbered(shot_words[: self.common])
        template = before + "\n" + CWE + CWE_PREFIX
        chosen = draw.sample(words, len(words))  # only the first ones are used

        def build(pieces: int) -> Example:
            if self.common + pieces > len(chosen):
                raise UsageError(
                    f"There are {len(chosen):,} words, too few for {self.name} at {length}: give more with --words, "
                    "or a smaller length."
                )
            order = random.Random(f"{self.name}/{length}/{number}/{seed}/places")
            document = self._listed(chosen[: self.common + pieces], *times, order)
            answers = tuple(chosen[: self.common])
            facts = tuple(_first_places(document, _ENTRY, answers))
            return Example(document, CWE.replace("{context}\n", ""), answers, facts, template, 0)

        return fit(build, length, sample_tokens(tokenizer, self.answer_tokens), 5)

    def memories(self, example: Example, segments: Iterable[Segment]) -> Iterator[str]:
        return _tallies(example.document, _ENTRY, segments, self.held)

    def _listed(self, words: Sequence[str], often: int, seldom: int, draw: random.Random) -> str:
        entries = list(words[: self.common]) * often + list(words[self.common :]) * seldom
        draw.shuffle(entries)
        return _numbered(entries)


@dataclass(frozen=True, slots=True)
class CodedWords:
    """fwe: coded words whose frequency falls with the square of their rank; the first rank is written as dots.

    Args:
        held: number of words in the tally of the ideal memory.
    """

    name: str = "fwe"
    held: int = 10
    metrics: tuple[str, ...] = ("string_match_all", "boxed_all")
    answer_tokens: int = 50
    size: None = None
    units: tuple[Unit, ...] = ("tokens",)
    placed: bool = False
    together: int = 1

    def example(self, length: Length, number: int, seed: int, tokenizer: Tokenizer) -> Example:
        draw = generator(self.name, length, number, seed)
        ranks = max((length.value - self.answer_tokens) // 50, 10)
        coded = distinct(lambda d: "".join(d.choices(string.ascii_lowercase, k=6)), ranks, draw)
        vocabulary = ["...", *coded[1:]]

        def build(pieces: int) -> Example:
            order = random.Random(f"{self.name}/{length}/{number}/{seed}/places")
            text = [word for word, times in zip(vocabulary, _zipf(pieces, ranks), strict=True) for _ in range(times)]
            order.shuffle(text)
            document, answers = " ".join(text), tuple(vocabulary[1:4])
            facts = tuple(_first_places(document, _CODED, answers))
            return Example(document, FWE.replace(" {context}", ""), answers, facts, FWE + FWE_PREFIX, 0)

        return fit(build, length, sample_tokens(tokenizer, self.answer_tokens), 60)

    def memories(self, example: Example, segments: Iterable[Segment]) -> Iterator[str]:
        return _tallies(example.document, _CODED, segments, self.held)


def _zipf(words: int, ranks: int) -> list[int]:
    """Return how often each rank appears in a text of `words` words: int(N / rank² / zeta(2)), as in RULER.

    From one N to the next, several ranks may gain a word. To allow any number of words, the ranks between two N gain
    their words one by one, starting with the first rank.
    """

    def times(n: int) -> list[int]:
        return [int(n / rank**2 / _ZETA_2) for rank in range(1, min(ranks, math.isqrt(n) + 1) + 1)]

    n = bisect_right(range(2 * words + ranks + 2), words, key=lambda each: sum(times(each))) - 1
    found, after = times(n), times(n + 1)
    found += [0] * (len(after) - len(found))
    missing = words - sum(found)
    for rank, more in enumerate(after):
        step = min(more - found[rank], missing)
        found[rank] += step
        missing -= step
    return found + [0] * (ranks - len(found))


def _numbered(words: Iterable[str]) -> str:
    return " ".join(f"{number}. {word}" for number, word in enumerate(words, 1))


def _first_places(document: str, entry: re.Pattern[str], words: Sequence[str]) -> Iterator[Fact]:
    """Yield a Fact for each of the words, at the place where the word first appears."""
    missing = set(words)
    for found in entry.finditer(document):
        word = found[found.lastindex or 0]
        if word in missing:
            missing.remove(word)
            yield Fact(word, word, found.end() - len(word), found.end())
        if not missing:
            return


def _tallies(document: str, entry: re.Pattern[str], segments: Iterable[Segment], held: int) -> Iterator[str]:
    """Yield the most frequent words so far, with their counts, after each segment.

    A word that a segment's border cuts counts in the next segment.
    """
    entries = entry.finditer(document)
    ahead = next(entries, None)
    tally: Counter[str] = Counter()
    for segment in segments:
        while ahead and ahead.end() <= segment.end:
            tally[ahead[ahead.lastindex or 0]] += 1
            ahead = next(entries, None)
        yield "\n".join(f"{word}: {times}" for word, times in tally.most_common(held)) or NOTHING
