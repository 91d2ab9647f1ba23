"""The embedded engine, which runs in a process of its own. This is the caller's side.

A step of the engine can take seconds, and it holds Python's global lock. In another process, it cannot hold up the
event loop, the progress display or Ctrl-C here. `engine_link.py` is the connection, and `engine_worker.py` is the
process.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass

from memagent.models.chat import OnText, Sampling
from memagent.models.engine_link import Link
from memagent.models.weights import Weights

Messages = list[tuple[str, str | list[int]]]
"""Role and content of each message. The content is text, or token ids if the caller has the engine's tokenizer."""


@dataclass(frozen=True, slots=True)
class Output:
    """A finished completion."""

    text: str
    prompt_tokens: int
    completion_tokens: int
    cut: bool
    """Whether the completion was cut by its token limit."""
    seconds: float
    """Seconds from the completion's first step to its last."""


class Engine:
    """An OpenVINO GenAI pipeline that runs `weights`.

    Args:
        prompt_lookup: whether to guess the next tokens from the prompt and check several in one step. This makes
            memories faster, because most of a memory is copied from the memory before.
    """

    def __init__(self, weights: Weights, *, prompt_lookup: bool) -> None:
        self._weights, self._prompt_lookup = weights, prompt_lookup
        self._link = Link("memagent.models.engine_worker")
        self.close: Callable[[], object] = weakref.finalize(self, self._link.end)
        """Function that ends the process."""

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._link.alive

    @property
    def seconds(self) -> float:
        """Seconds spent in the pipeline so far."""
        return self._link.busy

    async def open(self) -> None:
        """Load the engine's file. Make the file first if it does not exist yet.

        Raises:
            ModelError: the model cannot be loaded.
            StorageError: the cache folder cannot be written.
        """
        await self._link.call("open", self._weights.without_tokenizer(), self._prompt_lookup)

    async def generate(
        self, messages: Messages, max_tokens: int, sampling: Sampling, on_text: OnText | None = None
    ) -> Output:
        """Complete a conversation. Call `on_text` with the text so far whenever there is more.

        Raises:
            ModelError: the engine failed or had no room. An exception from `on_text` is raised here, too.
        """
        output: Output = await self._link.call("generate", messages, max_tokens, sampling, on_text=on_text)
        return output

    def prompt_tokens(self, messages: Messages) -> int:
        """Return the number of tokens of a prompt, chat template included. Waits for the engine's current step."""
        tokens: int = self._link.call_and_wait("prompt_tokens", messages)
        return tokens

    async def count(self, messages: Messages) -> int:
        """Do the same as `prompt_tokens`, while the event loop keeps running."""
        tokens: int = await self._link.call("prompt_tokens", messages)
        return tokens

    async def encode(self, text: str) -> list[int]:
        """Return the tokens of a text by the engine's tokenizer. Names of special tokens become special tokens."""
        ids: list[int] = await self._link.call("encode", text)
        return ids
