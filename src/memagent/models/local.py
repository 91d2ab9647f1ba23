"""A model on this machine, run by OpenVINO GenAI.

`open()` loads the engine and its library in another process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from copy import copy
from pathlib import Path

from memagent.core.records import Completion, Message, Request, Usage
from memagent.core.tokenizer import EstimatedTokenizer, FileTokenizer, Tokenizer
from memagent.errors import ModelError, WindowOverflow
from memagent.models.chat import OnText, Sampling
from memagent.models.engine import Engine, Messages
from memagent.models.reader_defaults import load_reader_defaults
from memagent.models.weights import find_weights

# Two tokenizers that encode this text in the same way are taken to be the same. It has spaces, digits, upper case,
# accents and several scripts.
_PROBE = "It's 12345 o'clock,\n\n  naïve DON'T\twait…\r\n x=3.14; 日本語 😀\n\u00a0end "

_FEW = 8  # messages in a conversation whose template's tokens are remembered


class LocalChat:
    """A model on this machine. It decodes greedily unless `sampling` has a temperature.

    Args:
        path: see `find_weights`.
        prompt_lookup: see `Engine`. Used for greedy decoding only.
        window: context window in tokens; overrides the one in the model's file.
    """

    def __init__(
        self,
        path: str | Path = "local",
        *,
        sampling: Sampling | None = None,
        prompt_lookup: bool = True,
        window: int | None = None,
    ) -> None:
        self._weights = find_weights(path)
        self.sampling = sampling or Sampling()
        self.defaults = load_reader_defaults(self._weights.folder)
        self.concurrency = 16  # a higher number would only take more memory
        self.lag = 0
        self.warnings: Sequence[str] = ()
        self._prompt_lookup = prompt_lookup and self.sampling.temperature == 0
        self.model = self._weights.name
        self.window = window or self._weights.window
        self.tokenizer: Tokenizer = self._weights.tokenizer or EstimatedTokenizer()
        self._engine: Engine | None = None
        self._opening = asyncio.Lock()
        # Number of tokens that the chat template adds to messages of these roles.
        self._templates: dict[tuple[str, ...], int] = {}

    @property
    def engine_seconds(self) -> float:
        """Seconds spent in the engine so far."""
        return self._engine.seconds if self._engine else 0.0

    def sampled(self, sampling: Sampling) -> LocalChat:
        """Return the same open model with other sampling settings."""
        other = copy(self)
        other.sampling = sampling
        return other

    async def open(self) -> None:
        async with self._opening:
            if self._engine is None or not self._engine.alive:
                engine = Engine(self._weights, prompt_lookup=self._prompt_lookup)
                await engine.open()
                ours = self._weights.tokenizer
                if ours and ours.ids(_PROBE) != await engine.encode(_PROBE):
                    raise ModelError(
                        f"The tokenizer of {self.model} is not the one the engine uses: give another model."
                    )
                if ours:
                    self._templates[("user",)] = await engine.count([("user", [])])
                self._engine = engine

    async def close(self) -> None:
        if self._engine:
            self._engine.close()
        self._engine = None

    def prompt_tokens(self, messages: Sequence[Message]) -> int:
        return self._count(self._encoded(messages))

    async def complete(self, request: Request, on_text: OnText | None = None) -> Completion:
        if self._engine and not self._engine.alive:  # its process was killed since the last call
            await self.open()
        prompt = self._encoded(request.messages)
        tokens = await self._counted(prompt)
        if self.window is not None and tokens + request.max_tokens > self.window:
            raise WindowOverflow(
                f"A prompt of {tokens:,} tokens and {request.max_tokens:,} for the completion do not fit the "
                f"window of {self.window:,}: lower --segment-tokens or --memory-tokens."
            )
        output = await self._opened.generate(prompt, request.max_tokens, self.sampling, on_text)
        usage = Usage(output.prompt_tokens, output.completion_tokens, output.seconds)
        return Completion(output.text, "length" if output.cut else "stop", usage)

    @property
    def _opened(self) -> Engine:
        if self._engine is None:
            raise ModelError("The model is not loaded: await open() first.")
        return self._engine

    def _encoded(self, messages: Sequence[Message]) -> Messages:
        """Return each role and content. The content is token ids, or text if only the engine can encode it."""
        own = self.tokenizer if isinstance(self.tokenizer, FileTokenizer) else None
        return [(message.role, own.ids(message.content) if own else message.content) for message in messages]

    async def _counted(self, prompt: Messages) -> int:
        """Return the number of tokens of a prompt. The event loop does not wait for the engine's current step."""
        roles = tuple(role for role, _ in prompt)
        if any(isinstance(content, str) for _, content in prompt) or len(roles) > _FEW:
            return await self._opened.count(prompt)
        if roles not in self._templates:
            self._templates[roles] = await self._opened.count([(role, []) for role in roles])
        return self._count(prompt)

    def _count(self, prompt: Messages) -> int:
        if any(isinstance(content, str) for _, content in prompt):
            return self._opened.prompt_tokens(prompt)
        roles = tuple(role for role, _ in prompt)
        if roles not in self._templates:
            self._templates[roles] = self._opened.prompt_tokens([(role, []) for role in roles])
        return self._templates[roles] + sum(len(content) for _, content in prompt)
