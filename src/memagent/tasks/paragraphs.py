"""A question over many numbered paragraphs, in RULER's form, for any data. A few paragraphs hold the answer.

For each example, the paragraphs that the answer rests on are shuffled with distractors up to the length. RULER raises
the number of paragraphs in steps and stops below the length. Here the last distractors are chosen so that a length in
tokens is met to within 1 %.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path

from memagent.core.records import Segment
from memagent.core.tokenizer import Tokenizer, count
from memagent.errors import UsageError
from memagent.tasks.example import Example, Fact, Length, Unit, facts_read, generator
from memagent.tasks.fitting import TooShort
from memagent.tasks.packing import Counts, document, pack

# Source of both: NVIDIA/RULER (Apache-2.0), byte for byte.
INSTRUCTION = (
    "Answer the question based on the given documents. Only give me the answer and do not output any other words."
)
QA = f"{INSTRUCTION}\n\nThe following are given documents.\n\n{{context}}\n\n{INSTRUCTION}\n\nQuestion: {{query}}"
QA_PREFIX = " Answer:"

_TRIES = 4  # times to count a whole sample; once is enough if the tokens of its parts add up


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, and the numbers of the paragraphs that belong to it."""

    question: str
    answers: tuple[str, ...]
    facts: tuple[tuple[int, Fact], ...]
    """Facts, each with the number of its paragraph and its place in that paragraph."""
    gold: tuple[int, ...]
    """Paragraphs that the answer rests on."""
    near: Sequence[int] = ()
    """Distractors to use before any others."""
    barred: frozenset[int] = frozenset()
    """Paragraphs that may not be distractors."""
    before: tuple[tuple[int, int], ...] = ()
    """Pairs of paragraphs whose first must come before the second."""


class ParagraphTask:
    """Questions whose answers lie in one or more of many paragraphs.

    Args:
        texts: all paragraphs; the first `pool` of them may be distractors.
        instructed: whether a memory agent's question begins with RULER's instruction.
        source, option: file that the paragraphs come from, and the flag that gives it, for messages.
    """

    answer_tokens = 32
    units: tuple[Unit, ...] = ("tokens", "paragraphs")
    placed = True
    together = 1

    def __init__(
        self,
        name: str,
        metrics: tuple[str, ...],
        asked: Sequence[Asked],
        texts: Sequence[str],
        *,
        pool: int,
        instructed: bool,
        source: str | Path,
        option: str,
    ) -> None:
        self.name = name
        self.metrics = metrics
        self.size = len(asked)
        self.asked = asked
        self._texts = texts
        self._pool = range(pool)
        self._instructed = instructed
        self._source = source
        self._option = option
        self._counts: Counts | None = None

    def example(self, length: Length, number: int, seed: int, tokenizer: Tokenizer) -> Example:
        """Return the example with this number.

        A length in paragraphs includes those that hold the answer. The order of the questions depends on the seed
        alone, so a number means the same question at every length.
        """
        if length.unit not in self.units:
            raise UsageError(f"{self.name} takes a length in {' or '.join(self.units)}, not {length}.")
        if number >= self.size:
            raise UsageError(f"{self.name} has {self.size:,} questions, too few for example {number} (counted from 0).")
        return self.of(self.asked[permutation(self.name, self.size, seed)[number]], length, number, seed, tokenizer)

    def of(self, asked: Asked, length: Length, number: int, seed: int, tokenizer: Tokenizer) -> Example:
        """Return an example of any question; the number determines which paragraphs are drawn."""
        if length.unit == "tokens":
            return self._fit(asked, length, number, seed, tokenizer)
        draw = generator(self.name, length, number, seed)
        example = self._write(asked, self._take(asked, length, draw), draw)
        return replace(example, tokens=self._tokens(example, tokenizer))

    def question(self, asked: Asked) -> str:
        """Return the question in the form that a memory agent gets."""
        return f"{INSTRUCTION}\n\nQuestion: {asked.question}" if self._instructed else asked.question

    def memories(self, example: Example, segments: Iterable[Segment]) -> Iterator[str]:
        return facts_read(example, segments)

    def text(self, paragraph: int) -> str:
        return self._texts[paragraph]

    def _take(self, asked: Asked, length: Length, draw: random.Random) -> list[int]:
        """Choose as many paragraphs as the length says."""
        chosen = [*asked.gold, *islice(self._distractors(asked, draw), max(length.value - len(asked.gold), 0))]
        if len(chosen) > length.value:
            raise TooShort(
                f"{self.name} cannot be {length} long: the answer rests on {len(chosen)} paragraphs; give a larger "
                "length."
            )
        if len(chosen) < length.value:
            raise self._too_long(length, f"{len(chosen):,} paragraphs")
        return chosen

    def _fit(self, asked: Asked, length: Length, number: int, seed: int, tokenizer: Tokenizer) -> Example:
        """Make an example of this many tokens. Only the chosen paragraphs are counted as a whole."""
        counts = self._counts
        if counts is None or counts.tokenizer is not tokenizer or not tokenizer.exact:
            counts = self._counts = Counts(tokenizer, self._texts)
        before, _, after = _template(asked).partition("{context}")
        room = length.value - self.answer_tokens - count(tokenizer, before + after.lstrip("\n"))
        slack = length.value // 100
        for _ in range(_TRIES):
            draw = generator(self.name, length, number, seed)
            packed = pack(asked.gold, self._distractors(asked, draw), room, slack, counts)
            if packed.left > slack and packed.all:
                raise self._too_long(length, f"{length.value - packed.left:,} tokens")
            if not 0 <= packed.left <= slack:
                raise TooShort(
                    f"{self.name} cannot be {length} long: no choice of paragraphs makes example {number} that long to "
                    "within 1 %; give a larger length."
                )
            example = self._write(asked, packed.chosen, draw)
            tokens = self._tokens(example, tokenizer)
            if length.value - slack <= tokens <= length.value:
                return replace(example, tokens=tokens)
            room -= tokens - (length.value - packed.left)
        raise UsageError(f"{self.name} cannot be made {length} long with this tokenizer: give another tokenizer.")

    def _distractors(self, asked: Asked, draw: random.Random) -> Iterator[int]:
        """Yield all possible distractors, in the order in which to use them."""
        passed = {*asked.gold, *asked.barred}
        for paragraph in chain(_shuffled(asked.near, draw), _shuffled(self._pool, draw)):
            if paragraph not in passed:
                passed.add(paragraph)
                yield paragraph

    def _write(self, asked: Asked, chosen: list[int], draw: random.Random) -> Example:
        draw.shuffle(chosen)
        for first, second in asked.before:
            one, other = chosen.index(first), chosen.index(second)
            if one > other:
                chosen[one], chosen[other] = second, first
        text, starts = document([self._texts[paragraph] for paragraph in chosen])
        start_of = dict(zip(chosen, starts, strict=True))
        facts = [
            replace(fact, start=start_of[paragraph] + fact.start, end=start_of[paragraph] + fact.end)
            for paragraph, fact in asked.facts
        ]
        return Example(text, self.question(asked), asked.answers, tuple(facts), _template(asked), 0, asked.question)

    def _tokens(self, example: Example, tokenizer: Tokenizer) -> int:
        return count(tokenizer, example.prompt()) + self.answer_tokens

    def _too_long(self, length: Length, most: str) -> UsageError:
        return UsageError(
            f"{self.name} cannot be {length} long: the paragraphs in {self._source} give at most {most}; "
            f"give more with {self._option}, or a smaller length."
        )


def _template(asked: Asked) -> str:
    return (QA + QA_PREFIX).replace("{query}", asked.question)


@lru_cache(maxsize=8)
def permutation(task: str, size: int, seed: int) -> list[int]:
    """Return the order of a task's questions."""
    order = list(range(size))
    random.Random(f"{task}/questions/{seed}").shuffle(order)
    return order


def _shuffled(items: Sequence[int], draw: random.Random) -> Iterator[int]:
    """Yield the items in random order, drawn one at a time because most examples need only a few (Fisher and Yates)."""
    moved: dict[int, int] = {}
    for left in range(len(items), 0, -1):
        place = draw.randrange(left)
        yield items[moved.get(place, place)]
        moved[place] = moved.get(left - 1, left - 1)
