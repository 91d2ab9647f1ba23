"""An Example: a document, a question, the right answers, and the places in the document that they come from."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

from memagent.core.prompts import NOTHING
from memagent.core.records import Segment
from memagent.core.tokenizer import Tokenizer
from memagent.errors import UsageError

Unit = Literal["tokens", "paragraphs", "own"]

_MOST = 1 << 30  # tokens or paragraphs: a greater length is surely a typing error
_SIZES = {"": 1, "k": 1024, "m": 1024 * 1024}


@dataclass(frozen=True, slots=True, order=True)
class Length:
    """Length of an example: in tokens, in paragraphs (RULER-HQA), or the length of its own document (value 0)."""

    value: int
    unit: Unit = "tokens"

    def __str__(self) -> str:
        if self.unit == "own":
            return "own"
        if self.unit == "paragraphs":
            return f"{self.value}p"
        for letter in ("m", "k"):
            if self.value % _SIZES[letter] == 0:
                return f"{self.value // _SIZES[letter]}{letter}"
        return str(self.value)


def parse_length(text: str) -> Length:
    """Return the length that "4096", "4k" (4,096 tokens), "1m" (1,048,576) or "50p" (50 paragraphs) stands for.

    Raises:
        UsageError: the text is not a length, or the length is 0 or too great.
    """
    match = re.fullmatch(r"(\d+)([kmp]?)", text.strip().lower())
    if match is None or int(match[1]) == 0:
        raise UsageError(f"{text!r} is not a length: give tokens, such as 4096, 8k or 1m, or paragraphs, such as 50p.")
    unit: Unit = "paragraphs" if match[2] == "p" else "tokens"
    value = int(match[1]) * _SIZES.get(match[2], 1)
    if value > _MOST:
        raise UsageError(f"A length of {text} is too large: give at most {Length(_MOST)}.")
    return Length(value, unit)


@dataclass(frozen=True, slots=True)
class Fact:
    """A statement that a right answer rests on. It is at `document[start:end]`, counted in characters."""

    text: str
    """The statement as an ideal memory notes it."""
    key: str
    """Text that any memory holding the fact must contain: a number, a name, the answer itself."""
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Example:
    """One sample of a task.

    `template` is the whole prompt for a model that reads the document at once, with `{context}` in place of the
    document. `question` is the question that a memory agent is asked. As in RULER, `tokens` counts the whole prompt,
    the answer prefix at its end, and the tokens to generate.
    """

    document: str
    question: str
    answers: tuple[str, ...]
    facts: tuple[Fact, ...]
    template: str
    tokens: int
    query: str = ""
    """Bare question for a search, without the instruction around it; empty if there is none."""

    def prompt(self, context: str | None = None) -> str:
        """Return the whole prompt, with the document or with another `context`."""
        before, _, after = self.template.partition("{context}")
        return before + (self.document if context is None else context) + after


class Task(Protocol):
    """A kind of example. The same length, number and seed give the same example on every machine."""

    @property
    def name(self) -> str: ...

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the task's metrics in `memagent.core.scoring.METRICS`, main metric first."""

    @property
    def answer_tokens(self) -> int:
        """Most tokens that an answer may have (RULER's tokens_to_generate)."""

    @property
    def size(self) -> int | None:
        """Number of examples; None if there is no limit."""

    @property
    def units(self) -> tuple[Unit, ...]:
        """Units that the task's lengths may have."""

    @property
    def placed(self) -> bool:
        """Whether each fact is in one place of the document, rather than all over it."""

    @property
    def together(self) -> int:
        """Number of consecutive examples that share a document, counted from example 0."""

    def example(self, length: Length, number: int, seed: int, tokenizer: Tokenizer) -> Example:
        """Return example `number`, counted from 0, with the given length in tokens of `tokenizer`.

        An example with a length in tokens is within 1 % of it: `0.99 * length <= example.tokens <= length`.

        Raises:
            UsageError: the task cannot make an example that long, or that short.
        """

    def memories(self, example: Example, segments: Iterable[Segment]) -> Iterator[str]:
        """Yield the ideal memory after each segment: the memory of a perfect reader."""


def generator(task: str, length: Length, number: int, seed: int) -> random.Random:
    """Return the random generator of an example. It is seeded with text, so it is the same on every machine."""
    return random.Random(f"{task}/{length}/{number}/{seed}")


def facts_read(example: Example, segments: Iterable[Segment]) -> Iterator[str]:
    """Yield the ideal memory of a task that asks for facts: the facts read so far, in document order, one per line."""
    facts = sorted(example.facts, key=lambda fact: fact.start)
    for segment in segments:
        read = [fact.text for fact in facts if fact.end <= segment.end]
        yield "\n".join(read) or NOTHING
