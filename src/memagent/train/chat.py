"""A policy under training as a Chat: `memagent ask --model checkpoint:DIR`. Requests made at once become one batch."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import torch

from memagent.chat import OnText, Sampling
from memagent.errors import ModelError, WindowOverflow
from memagent.records import Completion, Message, Request
from memagent.train.models import load_policy
from memagent.train.processes import Processes
from memagent.train.rollout import Sampler
from memagent.train.run import newest

_Waiting = tuple[Request, asyncio.Future[Completion]]


class CheckpointChat:
    """The policy in a checkpoint, or in the newest one of a run. Greedy unless `sampling` says otherwise.

    Args:
        window: tokens that prompt and completion may have together, when the policy's own number is to be changed.

    Raises:
        UsageError: there is no checkpoint.
        ModelError: it is damaged.
    """

    def __init__(self, folder: Path, *, sampling: Sampling | None = None, window: int | None = None) -> None:
        folder = newest(folder) or folder
        self.sampling = sampling or Sampling()
        self._policy = load_policy(folder, Processes().device)
        self.model = f"{folder.name}-{_digest(folder)}"
        self.window = window or self._policy.window
        self.tokenizer = self._policy.tokenizer
        self.habits = self._policy.habits
        random = torch.Generator(self._policy.device).manual_seed(self.sampling.seed or 0)
        self._sampler = Sampler(self._policy, self.sampling, random)
        self._waiting: list[_Waiting] = []
        self._worker: asyncio.Task[None] | None = None

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        pass

    def prompt_tokens(self, messages: Sequence[Message]) -> int:
        return len(self._policy.render(messages))

    async def complete(self, request: Request, on_text: OnText | None = None) -> Completion:
        tokens = self.prompt_tokens(request.messages)
        if tokens + request.max_tokens > self.window:
            raise WindowOverflow(
                f"A prompt of {tokens:,} tokens and {request.max_tokens:,} for the completion do not fit the window of "
                f"{self.window:,}: lower --segment-tokens or --memory-tokens."
            )
        future: asyncio.Future[Completion] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, future))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        completion = await future
        if on_text:
            on_text(completion.text)
        return completion

    async def _work(self) -> None:
        """Batch after batch, until nobody waits."""
        while self._waiting:
            await asyncio.sleep(0)  # whoever asks at the same time comes into the same batch
            batch, self._waiting = self._waiting, []
            try:
                found = await asyncio.to_thread(self._sampler.completions, [request for request, _ in batch])
            except ModelError as error:
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                continue
            for (_, future), completion in zip(batch, found, strict=True):
                if not future.done():  # else nobody waits for it any more
                    future.set_result(completion)


def _digest(folder: Path) -> str:
    """Of the weights: a run may only be resumed with the same ones."""
    found = sha256()
    for path in sorted(folder.glob("*.safetensors")):
        found.update(path.read_bytes())
    return found.hexdigest()[:8]
