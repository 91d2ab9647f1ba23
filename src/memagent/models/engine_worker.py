"""The process that steps the engine: one OpenVINO pipeline, which serves all requests by continuous batching.

Prompts with the same beginning are admitted one after another. Once the first has been read, the others find their
common prefix in the prefix cache. If all were admitted at the same time, each would compute the prefix again.
"""

from __future__ import annotations

import os
import pickle
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import IO, Any

import numpy as np
import openvino
import openvino_genai as ov

from memagent.errors import MemagentError, ModelError
from memagent.models.chat import Sampling
from memagent.models.engine import Messages, Output
from memagent.models.engine_link import CANCEL, Reply
from memagent.models.weights import Weights

SHARED = 256
"""Prompts that share this many leading tokens are admitted one by one, so that later ones hit the prefix cache."""

GUESSES = 5
"""Number of tokens that prompt lookup guesses in a step. LOG.md has the measurements behind it and `NGRAM`."""
NGRAM = 3
"""Length in tokens of the longest phrase that prompt lookup searches for."""


class Pipeline:
    """The engine's pipeline and its tokenizer.

    Raises:
        ModelError: the file cannot be loaded.
    """

    def __init__(self, file: Path, *, prompt_lookup: bool) -> None:
        scheduler = ov.SchedulerConfig()
        scheduler.enable_prefix_caching = True
        scheduler.max_num_batched_tokens = 2048
        # With a key-value cache in f16, prompt lookup seldom changes the text. The default, u8, is no faster (LOG.md).
        properties: dict[str, Any] = {"KV_CACHE_PRECISION": "f16"}
        if prompt_lookup:
            properties["prompt_lookup"] = True
        try:
            self.batching = ov.ContinuousBatchingPipeline(str(file), scheduler, "CPU", properties)
        except RuntimeError as error:
            raise ModelError(f"The engine cannot load {file}: {_reason(error)}") from error
        self._tokenizer = self.batching.get_tokenizer()
        self._prompt_lookup = prompt_lookup

    def encode(self, text: str) -> list[int]:
        """Return the tokens of `text`. Names of special tokens become special tokens."""
        if not text:
            return []
        encoded = self._tokenizer.encode(text, add_special_tokens=False)
        return [int(token) for token in encoded.input_ids.data[0]]

    def decode(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids))

    def prompt_ids(self, messages: Messages) -> list[int]:
        """Return the tokens of a prompt. Only the chat template's own text may become special tokens.

        A document that contains "<|im_end|>" must not be able to end the user's message. So the template is rendered
        without the contents, and the contents are encoded separately, by the caller if it has the tokenizer.
        """
        marks = [f"\ue000{index}\ue001" for index in range(len(messages))]
        rendered = self._tokenizer.apply_chat_template(
            [{"role": role, "content": mark} for (role, _), mark in zip(messages, marks, strict=True)],
            add_generation_prompt=True,
        )
        ids: list[int] = []
        for (_, content), mark in zip(messages, marks, strict=True):
            before, _, rendered = rendered.partition(mark)
            ids += self.encode(before)
            ids += self.encode(content) if isinstance(content, str) else content
        return ids + self.encode(rendered)

    def config(self, max_tokens: int, sampling: Sampling) -> Any:
        """Return the engine's settings for one completion."""
        config, defaults = ov.GenerationConfig(), self.batching.get_config()
        config.max_new_tokens = max_tokens
        end = self._tokenizer.get_eos_token_id()
        config.stop_token_ids = {t for t in (end, defaults.eos_token_id, *defaults.stop_token_ids) if t >= 0}
        config.eos_token_id = end
        if sampling.temperature > 0:
            config.do_sample = True
            config.temperature = sampling.temperature
            config.top_p = 1.0 if sampling.top_p is None else sampling.top_p
            config.rng_seed = secrets.randbits(31) if sampling.seed is None else sampling.seed
        if self._prompt_lookup:
            config.num_assistant_tokens = GUESSES
            config.max_ngram_size = NGRAM
        return config


@dataclass(slots=True, eq=False)
class _Job:
    number: int
    ids: Sequence[int]
    config: Any
    streamed: bool
    handle: Any = None
    written: list[int] = field(default_factory=list)
    cut: bool = False
    started: float = 0.0


class Worker:
    """Takes calls from `calls`, steps the pipeline while there is work, and sends replies."""

    def __init__(self, calls: SimpleQueue[tuple[Any, ...]], replies: IO[bytes]) -> None:
        self._calls, self._replies = calls, replies
        self._pipeline: Pipeline | None = None
        self._waiting: list[_Job] = []
        self._running: list[_Job] = []
        self._failed = False  # requests left over from a failed step must not be stepped for ever
        self._busy = 0.0

    def run(self) -> None:
        while True:
            while not self._has_work or not self._calls.empty():
                number, name, *values = self._calls.get()
                try:
                    self._answer(number, name, *values)
                except MemagentError as error:
                    self._reply(number, error)
            self._step()

    @property
    def _has_work(self) -> bool:
        # A cancelled request stays in the pipeline until the next step.
        unfinished = self._pipeline is not None and self._pipeline.batching.has_non_finished_requests()
        return bool(self._waiting or self._running or (unfinished and not self._failed))

    @property
    def _opened(self) -> Pipeline:
        assert self._pipeline is not None
        return self._pipeline

    def _answer(self, number: int, name: str, *values: Any) -> None:
        if name == "open":
            weights, prompt_lookup, _ = values
            assert isinstance(weights, Weights)
            self._pipeline = Pipeline(weights.engine_file(), prompt_lookup=prompt_lookup)
            self._reply(number, None)
        elif name == "generate":
            messages, max_tokens, sampling, streamed = values
            ids = self._opened.prompt_ids(messages)
            self._waiting.append(_Job(number, ids, self._opened.config(max_tokens, sampling), streamed))
        elif name == CANCEL:
            self._cancel(number)
        elif name == "prompt_tokens":
            self._reply(number, len(self._opened.prompt_ids(values[0])))
        else:
            self._reply(number, self._opened.encode(values[0]))

    def _cancel(self, number: int) -> None:
        self._waiting = [job for job in self._waiting if job.number != number]
        for job in [job for job in self._running if job.number == number]:
            self._running.remove(job)
            job.handle.cancel()

    def _step(self) -> None:
        self._admit()
        began = time.perf_counter()
        try:
            self._opened.batching.step()
        except RuntimeError as error:
            for job in self._waiting + self._running:
                self._reply(job.number, ModelError(f"The engine failed: {_reason(error)}"))
            self._waiting, self._running, self._failed = [], [], True
        self._busy += time.perf_counter() - began
        for job in list(self._running):
            self._collect(job)

    def _admit(self) -> None:
        for job in list(self._waiting):
            start = job.ids[:SHARED]
            if any(not other.written and other.ids[:SHARED] == start for other in self._running):
                continue
            self._waiting.remove(job)
            tensor = openvino.Tensor(np.array([job.ids], dtype=np.int64))
            job.started = time.perf_counter()
            try:
                job.handle = self._opened.batching.add_request(job.number, tensor, job.config)
            except RuntimeError as error:
                self._reply(job.number, ModelError(f"The engine refused the request: {_reason(error)}"))
            else:
                self._running.append(job)
                self._failed = False

    def _collect(self, job: _Job) -> None:
        before = len(job.written)
        while job.handle.can_read():
            for result in job.handle.read().values():
                job.written += result.generated_ids
                job.cut = result.finish_reason == ov.GenerationFinishReason.LENGTH
        if job.streamed and len(job.written) > before:
            self._reply(job.number, self._opened.decode(job.written), last=False)
        status = job.handle.get_status()
        if status == ov.GenerationStatus.RUNNING:
            return
        self._running.remove(job)
        if status != ov.GenerationStatus.FINISHED:
            self._reply(job.number, ModelError("The engine had no room for the prompt: lower --segment-tokens."))
            return
        seconds = time.perf_counter() - job.started
        text = self._opened.decode(job.written)
        self._reply(job.number, Output(text, len(job.ids), len(job.written), job.cut, seconds))

    def _reply(self, number: int, value: object, *, last: bool = True) -> None:
        pickle.dump(Reply(number, value, last, self._busy), self._replies)
        self._replies.flush()


def _reason(error: RuntimeError) -> str:
    """Return the last line of the error. The lines before it name places in the source of the engine's libraries."""
    return (str(error).strip() or repr(error)).splitlines()[-1]


def _take(source: IO[bytes], calls: SimpleQueue[tuple[Any, ...]]) -> None:
    """Queue the calls that arrive. End the process when the other side has closed the pipe."""
    try:
        while True:
            calls.put(pickle.load(source))
    except EOFError:
        os._exit(0)


def main() -> None:
    # Not sys.stdin: Python aborts if it exits while a thread reads from sys.stdin.
    source, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # so that a library that prints cannot spoil the replies
    calls: SimpleQueue[tuple[Any, ...]] = SimpleQueue()
    Thread(target=_take, args=(source, calls), daemon=True).start()
    Worker(calls, replies).run()


if __name__ == "__main__":
    main()
