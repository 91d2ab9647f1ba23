"""The embedded engine, in a process of its own.

A step of the engine takes up to seconds and holds Python's global lock. In another process it cannot hold up the
event loop, the progress display or Ctrl-C here. `engine_link.py` is the connection, `engine_worker.py` the other side.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass

from memagent.models.chat import OnText, Sampling
from memagent.models.engine_link import Link
from memagent.models.weights import Weights

Messages = list[tuple[str, str | list[int]]]
"""Role and content of each message. The content is text, or token ids where the caller has the engine's tokenizer."""


@dataclass(frozen=True, slots=True)
class Output:
    """A finished completion."""

    text: str
    prompt_tokens: int
    completion_tokens: int
    cut: bool
    """Whether the limit ended it."""
    seconds: float
    """Time from its first step to its last."""


class Engine:
    """An OpenVINO GenAI pipeline over `weights`.

    Args:
        prompt_lookup: Guess the next tokens from the prompt and check several in one step. This suits memories, which
            mostly copy the memory before.
    """

    def __init__(self, weights: Weights, *, prompt_lookup: bool) -> None:
        self._weights, self._prompt_lookup = weights, prompt_lookup
        self._link = Link("memagent.models.engine_worker")
        self.close: Callable[[], object] = weakref.finalize(self, self._link.end)
        """End the process."""

    @property
    def seconds(self) -> float:
        """Seconds spent inside the pipeline so far."""
        return self._link.busy

    async def open(self) -> None:
        """Make the engine's file if there is none yet, and load it.

        Raises:
            ModelError: The model cannot be loaded.
            StorageError: The cache folder cannot be written.
        """
        await self._link.call("open", self._weights.without_tokenizer(), self._prompt_lookup)

    async def generate(
        self, messages: Messages, max_tokens: int, sampling: Sampling, on_text: OnText | None = None
    ) -> Output:
        """Complete a conversation; `on_text` is called with the text so far whenever there is more.

        Raises:
            ModelError: The engine failed or had no room. What `on_text` raises comes out here, too.
        """
        output: Output = await self._link.call("generate", messages, max_tokens, sampling, on_text=on_text)
        return output

    def prompt_tokens(self, messages: Messages) -> int:
        """Count the tokens of a prompt, chat template included. Waits for the engine's current step."""
        tokens: int = self._link.call_and_wait("prompt_tokens", messages)
        return tokens

    async def encode(self, text: str) -> list[int]:
        """Encode with the engine's tokenizer. Names of special tokens become special tokens."""
        ids: list[int] = await self._link.call("encode", text)
        return ids
