"""An Example: a document, a question, the answers that are right, and where in the document they come from."""

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

_MOST = 1 << 30  # tokens or paragraphs: more is nobody's intention
_SIZES = {"": 1, "k": 1024, "m": 1024 * 1024}


@dataclass(frozen=True, slots=True, order=True)
class Length:
    """How long an example is to be: in tokens, in paragraphs (RULER-HQA), or as long as its own document is (0)."""

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
    """The length that "4096", "4k" (4,096 tokens), "1m" (1,048,576) or "50p" (50 paragraphs) stands for.

    Raises:
        UsageError: it is none of these, or 0.
    """
    match = re.fullmatch(r"(\d+)([kmp]?)", text.strip().lower())
    if match is None or int(match[1]) == 0:
        raise UsageError(f"A length is tokens, such as 4096, 8k or 1m, or paragraphs, such as 50p; not {text!r}.")
    unit: Unit = "paragraphs" if match[2] == "p" else "tokens"
    value = int(match[1]) * _SIZES.get(match[2], 1)
    if value > _MOST:
        raise UsageError(f"A length of {text} is beyond measure: give at most {Length(_MOST)}.")
    return Length(value, unit)


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that a right answer rests on. It stands in `document[start:end]`, counted in characters."""

    text: str
    """As an ideal memory notes it."""
    key: str
    """What a memory that holds the fact is bound to contain: a number, a name, the answer itself."""
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Example:
    """One sample of a task.

    `template` is the whole prompt for a model that reads the document at once, `{context}` standing for the
    document; `question` is what a memory agent is asked. `tokens` counts the whole prompt, RULER's answer prefix at its
    end, and the tokens to generate, as RULER does.
    """

    document: str
    question: str
    answers: tuple[str, ...]
    facts: tuple[Fact, ...]
    template: str
    tokens: int
    query: str = ""
    """What is asked, without the instruction around it, where the question has one; for a search."""

    def prompt(self, context: str | None = None) -> str:
        """The whole prompt, over the document or over another `context`."""
        before, _, after = self.template.partition("{context}")
        return before + (self.document if context is None else context) + after


class Task(Protocol):
    """A kind of example, drawn at will: the same length, number and seed give the same example on every machine."""

    @property
    def name(self) -> str: ...

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names in `memagent.core.scoring.METRICS`, the one to report first."""

    @property
    def answer_tokens(self) -> int:
        """How long an answer may be (RULER's tokens_to_generate)."""

    @property
    def size(self) -> int | None:
        """How many examples there are; None for as many as you like."""

    @property
    def units(self) -> tuple[Unit, ...]:
        """What its lengths may be counted in."""

    @property
    def placed(self) -> bool:
        """Whether each fact stands at one place of the document, and not all over it."""

    @property
    def together(self) -> int:
        """How many examples that follow one another share a document: from number 0 on, so many at a time."""

    def example(self, length: Length, number: int, seed: int, tokenizer: Tokenizer) -> Example:
        """The example with that number, from 0, of that length in tokens of `tokenizer`.

        A length in tokens is kept to within 1 %: `0.99 * length <= example.tokens <= length`.

        Raises:
            UsageError: the task cannot be that long, or that short.
        """

    def memories(self, example: Example, segments: Iterable[Segment]) -> Iterator[str]:
        """The ideal memory after each of the segments: what a perfect reader would hold."""


def generator(task: str, length: Length, number: int, seed: int) -> random.Random:
    """The source of all that is random in an example. Seeded with text, it is the same on every machine."""
    return random.Random(f"{task}/{length}/{number}/{seed}")


def facts_read(example: Example, segments: Iterable[Segment]) -> Iterator[str]:
    """The ideal memory of a task that asks for facts: those read so far, in the document's order, a line each."""
    facts = sorted(example.facts, key=lambda fact: fact.start)
    for segment in segments:
        read = [fact.text for fact in facts if fact.end <= segment.end]
        yield "\n".join(read) or NOTHING
