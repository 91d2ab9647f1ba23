"""The Chat protocol, implemented by `local` (on this machine), `http` (a server) and `scripted` (a public fake)."""

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
"""Callback that receives the text of a completion so far."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """Sampling settings. A temperature of 0 means greedy decoding. None leaves the choice to the engine or server."""

    temperature: float = 0.0
    top_p: float | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < inf:
            raise UsageError(f"The temperature is {self.temperature:g}: give 0 or more.")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise UsageError(f"top-p is {self.top_p:g}: give more than 0 and at most 1.")
        if self.seed is not None and self.seed < 0:
            raise UsageError(f"The seed is {self.seed}: give 0 or more.")


class Chat(Protocol):
    """A model that completes conversations."""

    model: str
    """Name of the model. A run can only be resumed with the same name."""

    window: int | None
    """Context window: tokens that prompt and completion may have together; None when unknown."""

    sampling: Sampling

    defaults: ReaderDefaults
    """Settings that the model was trained to read with; `ReaderDefaults()` when unknown."""

    tokenizer: Tokenizer
    """Tokenizer that counts the tokens of a text, exactly or as an estimate."""

    concurrency: int
    """Largest number of calls that the model is given at the same time."""

    lag: int
    """Largest distance, in segments, between two readings of a document, so that a prefix cache covers both."""

    @property
    def warnings(self) -> Sequence[str]:
        """Messages about settings that the model or its server did not follow, one sentence each."""

    async def open(self) -> None:
        """Load the weights, or ask the server which models it has. Call this first; calling it again is harmless.

        Raises:
            ModelError: the model cannot be loaded or reached.
        """

    def prompt_tokens(self, messages: Sequence[Message]) -> int:
        """Return the number of tokens of a prompt, chat template included."""

    async def complete(self, request: Request, on_text: OnText | None = None) -> Completion:
        """Complete one conversation. Several calls may run at the same time.

        Raises:
            WindowOverflow: prompt and completion do not fit the window.
            ModelError: the model gave no usable completion.
        """

    async def close(self) -> None:
        """Release the engine or close the connections."""
