"""The Chat protocol, and who speaks it: `local` (on this machine), `http` (a server), `scripted` (a public fake)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Protocol

from memagent.core.records import Completion, Message, Request
from memagent.core.tokenizer import Tokenizer
from memagent.errors import UsageError
from memagent.models.reader_defaults import ReaderDefaults

OnText = Callable[[str], None]
"""Called with the text of a completion as far as it has been written."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn. A temperature of 0 is greedy. None leaves the choice to the model's side."""

    temperature: float = 0.0
    top_p: float | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < inf:
            raise UsageError(f"The temperature is {self.temperature:g}: give 0 or more.")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise UsageError(f"top-p is {self.top_p:g}: give more than 0, at most 1.")
        if self.seed is not None and self.seed < 0:
            raise UsageError(f"The seed is {self.seed}: give 0 or more.")


class Chat(Protocol):
    """A model that completes conversations."""

    model: str
    """What the model is called. A run may only be resumed with the same name."""

    window: int | None
    """Tokens that prompt and completion may have together; None when unknown."""

    sampling: Sampling

    defaults: ReaderDefaults
    """How the model is used to reading; `ReaderDefaults()` where nobody knows."""

    tokenizer: Tokenizer
    """Counts the tokens of a text, exactly or as an estimate."""

    lag: int
    """How many segments one reading of a document may be ahead of another, so that a prefix cache covers both."""

    @property
    def warnings(self) -> Sequence[str]:
        """What the model or its server did not do as it was asked, a sentence each."""

    async def open(self) -> None:
        """Load the weights, or ask the server what it serves. Called before anything else; again is harmless.

        Raises:
            ModelError: the model cannot be loaded or reached.
        """

    def prompt_tokens(self, messages: Sequence[Message]) -> int:
        """Tokens of a prompt, chat template included."""

    async def complete(self, request: Request, on_text: OnText | None = None) -> Completion:
        """Complete one conversation. May be called again while earlier calls run.

        Raises:
            WindowOverflow: prompt and completion do not fit the window.
            ModelError: no completion could be had.
        """

    async def close(self) -> None:
        """Let go of the engine or the connections."""
