"""The values that the whole package passes around: requests, completions, and the record of both.

They have no behaviour beyond sums and views.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Finish = Literal["stop", "length"]
"""Why a completion ended: the model stopped by itself, or the token limit cut the completion off."""


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
    """For a half: start and end of the whole segment, which did not fit the window."""

    @property
    def origin(self) -> tuple[int, int]:
        """Start and end of this segment, or of the whole segment that it is a half of."""
        return self.whole or (self.start, self.end)


@dataclass(frozen=True, slots=True)
class Request:
    """A completion that a reading asks for: the conversation, and the token limit of the completion."""

    messages: tuple[Message, ...]
    max_tokens: int
    segment: Segment | None = None
    """Piece of the document that the request shows, if any."""
    memory: str = ""
    """Memory that the request starts from."""
    kind: str = "memorize"
    """Purpose: "memorize", "answer", or a reader's own word, such as "choose"."""
    template: str = ""
    """Template that was filled to make the conversation, if the conversation is one message."""
    fields: tuple[tuple[str, str], ...] = ()
    """Names and values that were put into the template."""


@dataclass(frozen=True, slots=True)
class Memory:
    """The new memory of a reading; the reading yields it to announce it."""

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
    """A model's reply. `tokens` is set if a policy was sampled for training."""

    text: str
    finish: Finish = "stop"
    usage: Usage = Usage()
    tokens: Tokens | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """One finished step of a reading: a request and its completion."""

    index: int
    """Number of the turn, from 0, in the order in which completions arrived."""
    request: Request
    completion: Completion
    memory: str
    """Memory after the turn, as the reading announced it."""
    wave: int = 0
    """Number of the turn's wave, from 0. The requests of a wave may be completed at the same time."""
    place: int = 0
    """Place of the request in its wave, from 0."""


@dataclass(frozen=True, slots=True)
class Trace:
    """A reading so far: the question and its turns.

    The turns may be a list in memory, or a view of a journal that reads them from disk one at a time.
    """

    question: str
    turns: Sequence[Turn]
    total: Usage | None = None
    """Sum of the turns' usage, if it is known."""

    @property
    def memories(self) -> Sequence[Turn]:
        """The turns before the answer, in order."""
        return self.turns if self.answer is None else self.turns[:-1]

    @property
    def memory(self) -> str:
        """The memory after the last turn; empty before the first turn."""
        return self.turns[-1].memory if self.turns else ""

    @property
    def segments(self) -> list[int]:
        """For each turn before the answer, the number of the segment that was read last.

        Numbers start at 0 and follow the order of the document. Segments that were not read have no number.
        """
        places: list[tuple[int, int] | None] = []
        for turn in self.memories:
            segment = turn.request.segment
            places.append(segment.origin if segment else places[-1] if places else None)
        read = sorted({place for place in places if place})
        numbers = {place: number for number, place in enumerate(read)}
        return [numbers[place] if place else 0 for place in places]

    @property
    def answer(self) -> str | None:
        """The answer as the model wrote it; None while the reading is unfinished."""
        last = self.turns[-1] if self.turns else None
        return last.completion.text if last and last.request.kind == "answer" else None

    @property
    def usage(self) -> Usage:
        return sum((turn.completion.usage for turn in self.turns), Usage()) if self.total is None else self.total
