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
        # A key-value cache in f16 is no slower here than the default u8, and prompt lookup then changes the text
        # seldom instead of nearly always: see LOG.md.
        properties: dict[str, Any] = {"KV_CACHE_PRECISION": "f16"}
        if prompt_lookup:
            properties["prompt_lookup"] = True
        try:
            self._pipeline = ov.ContinuousBatchingPipeline(str(path), scheduler, "CPU", properties)
        except RuntimeError as error:
            raise ModelError(f"The engine cannot load {path}: {_reason(error)}") from error
        self.tokenizer = self._pipeline.get_tokenizer()
        self.defaults = self._pipeline.get_config()
        self.seconds = 0.0
        """Seconds spent inside the pipeline."""
        self._waiting: list[_Job] = []
        self._running: list[_Job] = []
        self._stepper: asyncio.Task[None] | None = None
        self._requests = 0

    def encode(self, text: str) -> list[int]:
        """Token ids, the names of special tokens taken as such."""
        if not text:
            return []
        encoded = self.tokenizer.encode(text, add_special_tokens=False)
        return [int(token) for token in encoded.input_ids.data[0]]

    async def generate(
        self, ids: Sequence[int], config: ov.GenerationConfig, on_ids: Callable[[list[int]], None] | None = None
    ) -> Output:
        """Complete the prompt `ids`; `on_ids` is called with all tokens so far, whenever there are new ones.

        Raises:
            ModelError: the engine failed, or had no room. What `on_ids` raises comes out here, too.
        """
        loop = asyncio.get_running_loop()
        job = _Job(ids, config, on_ids, loop.create_future())
        self._waiting.append(job)
        if self._stepper is None or self._stepper.done() or self._stepper.get_loop() is not loop:
            self._stepper = asyncio.create_task(self._work())
            # What interrupts a step reaches whoever runs the loop; it need not be reported a second time.
            self._stepper.add_done_callback(lambda done: done.cancelled() or done.exception())
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
            failure = ModelError(f"The engine failed: {_reason(error)}")
            for job in self._waiting + self._running:
                _fail(job, failure)

    def _admit(self) -> None:
        for job in list(self._waiting):
            start = job.ids[:SHARED]
            if any(not other.output.ids and other.ids[:SHARED] == start for other in self._running):
                continue
            self._waiting.remove(job)
            self._requests += 1
            tensor = openvino.Tensor(np.array([job.ids], dtype=np.int64))
            job.started = time.perf_counter()
            try:
                job.handle = self._pipeline.add_request(self._requests, tensor, job.config)
            except RuntimeError as error:
                _fail(job, ModelError(f"The engine refused the request: {_reason(error)}"))
            else:
                self._running.append(job)

    def _collect(self, job: _Job) -> None:
        output = job.output
        new = False
        while job.handle.can_read():
            for result in job.handle.read().values():
                output.ids += result.generated_ids
                output.cut = result.finish_reason == ov.GenerationFinishReason.LENGTH
                new = True
        if new and job.on_ids and not job.done.done():
            try:
                job.on_ids(output.ids)
            except Exception as error:  # noqa: BLE001  the caller's own code, and handed back to the caller
                _fail(job, error)
        status = job.handle.get_status()
        if status == ov.GenerationStatus.RUNNING:
            return
        self._running.remove(job)
        output.seconds = time.perf_counter() - job.started
        if status != ov.GenerationStatus.FINISHED:
            _fail(job, ModelError("The engine had no room for the prompt: lower --segment-tokens."))
        elif not job.done.done():
            job.done.set_result(output)


def _fail(job: _Job, error: Exception) -> None:
    if not job.done.done():
        job.done.set_exception(error)


def _reason(error: RuntimeError) -> str:
    """The last line of what the engine's libraries say: the ones before tell where in their sources."""
    return (str(error).strip() or repr(error)).splitlines()[-1]
