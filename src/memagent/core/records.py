"""The one currency: what a reading asks, what a model replies, and the record of both.

Everything else in the package trades in these values. They hold no behaviour beyond sums and views.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Finish = Literal["stop", "length"]
"""Why a completion ended: the model stopped by itself, or it was cut by the token limit."""


@dataclass(frozen=True, slots=True)
class Message:
    """One chat message. `role` is "system", "user" or "assistant"."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of the document: `document[start:end] == text`. Offsets count characters, `tokens` counts tokens."""

    start: int
    end: int
    text: str
    tokens: int
    whole: tuple[int, int] | None = None
    """Of a half, where the segment starts and ends that did not fit."""

    @property
    def origin(self) -> tuple[int, int]:
        """Where the segment starts and ends that it is, or is a half of."""
        return self.whole or (self.start, self.end)


@dataclass(frozen=True, slots=True)
class Request:
    """What a reading wants completed: a conversation of its own, and how long the completion may be (in tokens)."""

    messages: tuple[Message, ...]
    max_tokens: int
    segment: Segment | None = None
    """The piece of the document that it shows, if any."""
    memory: str = ""
    """The memory that it starts from."""
    kind: str = "memorize"
    """What it is for: "memorize", "answer", or a reader's own word, such as "choose"."""
    template: str = ""
    """Where the conversation is one message, the template that was filled for it."""
    fields: tuple[tuple[str, str], ...] = ()
    """What it was filled with."""


@dataclass(frozen=True, slots=True)
class Memory:
    """A reading says what its memory is from now on."""

    text: str


@dataclass(frozen=True, slots=True)
class Tokens:
    """The sampled token ids of a completion and their log-probabilities, both of length T, and the prompt's ids."""

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    prompt: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens in, tokens out, and the seconds the model spent. `a + b` is their sum."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.seconds + other.seconds,
        )

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model replied. `tokens` is there when the policy was sampled for training."""

    text: str
    finish: Finish = "stop"
    usage: Usage = Usage()
    tokens: Tokens | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """One finished step of a reading: what was asked, and what came back."""

    index: int
    """From 0, in the order in which completions came."""
    request: Request
    completion: Completion
    memory: str
    """The memory after it, as the reading said."""
    wave: int = 0
    """The number of the wave: of the requests that could be completed at the same time."""
    place: int = 0
    """In the wave, from 0."""


@dataclass(frozen=True, slots=True)
class Trace:
    """A reading so far: the question and its turns.

    The turns may be a list in memory, or a view of a journal that reads them from disk one at a time.
    """

    question: str
    turns: Sequence[Turn]

    @property
    def memories(self) -> Sequence[Turn]:
        """The turns before the answer, in order."""
        return self.turns if self.answer is None else self.turns[:-1]

    @property
    def memory(self) -> str:
        """The last memory; empty before the first."""
        return self.turns[-1].memory if self.turns else ""

    @property
    def segments(self) -> list[int]:
        """Of each turn before the answer, the number of the segment it read last, from 0."""
        numbers: list[int] = []
        last = None
        for turn in self.memories:
            segment = turn.request.segment
            place = segment.origin if segment else last
            numbers.append(numbers[-1] + (place != last) if numbers else 0)
            last = place
        return numbers

    @property
    def answer(self) -> str | None:
        """The answer as the model wrote it; None while the reading goes on."""
        last = self.turns[-1] if self.turns else None
        return last.completion.text if last and last.request.kind == "answer" else None

    @property
    def usage(self) -> Usage:
        return sum((turn.completion.usage for turn in self.turns), Usage())
