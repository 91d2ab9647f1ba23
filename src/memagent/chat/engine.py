"""One OpenVINO pipeline that serves all concurrent requests by continuous batching.

`generate` adds a request; a task on the event loop steps the pipeline while there is work. (A step holds Python's
global lock, so that a thread of its own would gain nothing.)

Requests that begin alike are not computed twice at the same time: while the first of them is still reading its
prompt, the others wait for its blocks in the prefix cache.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import openvino_genai as ov

from memagent.errors import ModelError

SHARED = 256
"""Prompts that agree in their first 256 tokens wait for one another."""


@dataclass(slots=True)
class Output:
    """What a request has produced so far; `seconds` from its first step to its last."""

    ids: list[int] = field(default_factory=list)
    cut: bool = False
    seconds: float = 0.0


@dataclass(slots=True, eq=False)
class _Job:
    ids: Sequence[int]
    config: ov.GenerationConfig
    on_ids: Callable[[list[int]], None] | None
    done: asyncio.Future[Output]
    output: Output = field(default_factory=Output)
    handle: Any = None
    started: float = 0.0


class Engine:
    """An OpenVINO GenAI pipeline over the model at `path`.

    Args:
        prompt_lookup: guess next tokens from the prompt and check them in one step; for memories, which mostly
            copy the one before.

    Raises:
        ModelError: the model cannot be loaded.
    """

    def __init__(self, path: Path, *, prompt_lookup: bool) -> None:
        scheduler = ov.SchedulerConfig()
        scheduler.enable_prefix_caching = True
        scheduler.max_num_batched_tokens = 2048
        # A key-value cache in f16 is no slower here than the default u8, and its rounding does not depend on how
        # many tokens a step checks: prompt lookup then gives the same text.
        properties: dict[str, Any] = {"KV_CACHE_PRECISION": "f16"}
        if prompt_lookup:
            properties["prompt_lookup"] = True
        try:
            self._pipeline = ov.ContinuousBatchingPipeline(str(path), scheduler, "CPU", properties)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise ModelError(f"The engine cannot load {path}: {reason}") from error
        self.tokenizer = self._pipeline.get_tokenizer()
        self.defaults = self._pipeline.get_config()
        self.seconds = 0.0
        """Seconds spent inside the pipeline."""
        self._waiting: list[_Job] = []
        self._running: list[_Job] = []
        self._stepper: asyncio.Task[None] | None = None
        self._requests = 0

    async def generate(
        self, ids: Sequence[int], config: ov.GenerationConfig, on_ids: Callable[[list[int]], None] | None = None
    ) -> Output:
        """Complete the prompt `ids`; `on_ids` is called with all tokens so far, whenever there are new ones."""
        job = _Job(ids, config, on_ids, asyncio.get_running_loop().create_future())
        self._waiting.append(job)
        if self._stepper is None or self._stepper.done():
            self._stepper = asyncio.create_task(self._work())
        try:
            return await job.done
        finally:
            self._drop(job)

    def _drop(self, job: _Job) -> None:
        if job in self._waiting:
            self._waiting.remove(job)
        if job in self._running:
            self._running.remove(job)
            job.handle.cancel()

    async def _work(self) -> None:
        try:
            # A cancelled request leaves the pipeline in its next step.
            while self._waiting or self._running or self._pipeline.has_non_finished_requests():
                self._admit()
                began = time.perf_counter()
                self._pipeline.step()
                self.seconds += time.perf_counter() - began
                for job in list(self._running):
                    self._collect(job)
                await asyncio.sleep(0)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            for job in self._waiting + self._running:
                if not job.done.done():
                    job.done.set_exception(ModelError(f"The engine failed: {reason}"))

    def _admit(self) -> None:
        for job in list(self._waiting):
            start = job.ids[:SHARED]
            if any(not other.output.ids and other.ids[:SHARED] == start for other in self._running):
                continue
            self._waiting.remove(job)
            self._requests += 1
            tensor = openvino.Tensor(np.array([job.ids], dtype=np.int64))
            job.started = time.perf_counter()
            job.handle = self._pipeline.add_request(self._requests, tensor, job.config)
            self._running.append(job)

    def _collect(self, job: _Job) -> None:
        output = job.output
        new = False
        while job.handle.can_read():
            for result in job.handle.read().values():
                output.ids += result.generated_ids
                output.cut = result.finish_reason == ov.GenerationFinishReason.LENGTH
                new = True
        if new and job.on_ids:
            job.on_ids(output.ids)
        status = job.handle.get_status()
        if status == ov.GenerationStatus.RUNNING:
            return
        self._running.remove(job)
        output.seconds = time.perf_counter() - job.started
        if job.done.done():  # given up in the meantime
            return
        if status == ov.GenerationStatus.FINISHED:
            job.done.set_result(output)
        else:
            job.done.set_exception(ModelError("The engine had no room for the prompt: lower --segment-tokens."))
