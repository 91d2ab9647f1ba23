"""The one currency: what the loop asks, what a model replies, and the record of both.

Everything else in the package trades in these values. They hold no behaviour beyond sums and views.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["memorize", "first half", "second half", "choose", "answer"]
"""What a request is for: to read a segment, to look at half of it again, to choose what stays in a full memory, or to
answer."""

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
    rest: tuple[int, ...] = ()
    """Of a segment that had to be halved: where the pieces end that are still to be read, the next one first."""


@dataclass(frozen=True, slots=True)
class Request:
    """What the loop wants completed: a conversation of its own, and how long the completion may be (in tokens).

    `segment` is the piece of the document shown in it; None for the answer, which sees only the memory. `memory` is the
    memory shown in it; None where there is no such thing.
    """

    messages: tuple[Message, ...]
    max_tokens: int
    segment: Segment | None = None
    memory: str | None = None
    kind: Kind = "memorize"


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
    """One finished step of a reading; `index` counts from 0."""

    index: int
    request: Request
    completion: Completion
    kept: str | None = None
    """The memory that was made of the completion, where it is not the completion as it stands."""

    @property
    def memory(self) -> str:
        """The memory after this step; where it gave the answer, that."""
        return self.completion.text if self.kept is None else self.kept


@dataclass(frozen=True, slots=True)
class Trace:
    """A reading so far: the question and its turns. The last turn of a finished reading is the answer.

    The turns may be a list in memory, or a view of a journal that reads them from disk one at a time.
    """

    question: str
    turns: Sequence[Turn]

    @property
    def memories(self) -> Sequence[Turn]:
        """The turns that read a segment, in order."""
        return self.turns if self.answer is None else self.turns[:-1]

    @property
    def memory(self) -> str:
        """The last memory written; empty before the first."""
        memories = self.memories
        return memories[-1].memory if memories else ""

    @property
    def segments(self) -> list[int]:
        """Of each turn that read a segment, that segment's number, from 0. A step may look at one more than once."""
        numbers: list[int] = []
        last = None
        for turn in self.memories:
            segment = turn.request.segment
            numbers.append(numbers[-1] + (segment != last) if numbers else 0)
            last = segment
        return numbers

    @property
    def answer(self) -> str | None:
        """The answer as the model wrote it; None while the reading goes on."""
        last = self.turns[-1] if self.turns else None
        return last.completion.text if last and last.request.segment is None else None

    @property
    def usage(self) -> Usage:
        return sum((turn.completion.usage for turn in self.turns), Usage())
