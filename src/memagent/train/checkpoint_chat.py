"""A trained policy as a Chat: `memagent ask --model checkpoint:DIR`. Requests made at the same time form one batch."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import file_digest, sha256
from pathlib import Path

import torch

from memagent.core.records import Completion, Message, Request
from memagent.errors import WindowOverflow
from memagent.models.chat import OnText, Sampling
from memagent.train.folder import newest
from memagent.train.loading import load_policy
from memagent.train.processes import Processes
from memagent.train.sampler import Sampler


class CheckpointChat:
    """The policy in a checkpoint, or in the newest checkpoint of a run. Greedy unless `sampling` says otherwise.

    Args:
        window: most tokens of prompt and completion together; None keeps the policy's own context window.

    Raises:
        UsageError: there is no checkpoint.
        ModelError: the checkpoint is damaged.
    """

    def __init__(self, folder: Path, *, sampling: Sampling | None = None, window: int | None = None) -> None:
        folder = newest(folder) or folder
        self.sampling = sampling or Sampling()
        self._policy = load_policy(folder, Processes().device)
        self.model = f"{folder.name}-{_digest(folder)}"
        self.window = self._policy.window = window or self._policy.window
        self.tokenizer = self._policy.tokenizer
        self.defaults = self._policy.defaults
        self.concurrency = 16
        self.lag = 0
        self.warnings: Sequence[str] = ()
        random = torch.Generator(self._policy.device).manual_seed(self.sampling.seed or 0)
        self._sampler = Sampler(self._policy, self.sampling, random)
        self._next = _Batch()
        self._turn = asyncio.Lock()

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
        batch = self._next
        batch.requests.append(request)
        if batch.job is None:
            batch.job = asyncio.create_task(self._run(batch))
        place = len(batch.requests) - 1
        completion = (await asyncio.shield(batch.job))[place]
        if on_text:
            on_text(completion.text)
        return completion

    async def _run(self, batch: _Batch) -> list[Completion]:
        """The completions of a batch. More requests may join the batch until its turn comes."""
        async with self._turn:
            await asyncio.sleep(0)
            self._next = _Batch()
            return await asyncio.to_thread(self._sampler.completions, batch.requests)


@dataclass(slots=True)
class _Batch:
    requests: list[Request] = field(default_factory=list)
    job: asyncio.Task[list[Completion]] | None = None


def _digest(folder: Path) -> str:
    """Hash of the weights. It makes a run refuse to resume with different weights."""
    found = sha256()
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            found.update(file_digest(file, "sha256").digest())
    return found.hexdigest()[:8]
