"""The Chat protocol, and who speaks it: `local` (on this machine), `http` (a server), `scripted` (a public fake)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from memagent.records import Completion, Message, Request
from memagent.tokenizer import Tokenizer

OnText = Callable[[str], None]
"""Called with the text of a completion as far as it has been written."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn. A temperature of 0 is greedy. None leaves the choice to the model's side."""

    temperature: float = 0.0
    top_p: float | None = None
    seed: int | None = None


class Chat(Protocol):
    """A model that completes conversations."""

    model: str
    """What the model is called. A run may only be resumed with the same name."""

    window: int | None
    """Tokens that prompt and completion may have together; None when unknown."""

    sampling: Sampling

    tokenizer: Tokenizer
    """Counts the tokens of a text, exactly or as an estimate."""

    async def open(self) -> None:
        """Load the weights, or ask the server what it serves. Called once, before anything else.

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
