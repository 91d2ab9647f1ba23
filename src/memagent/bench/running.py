"""Runs a benchmark: makes each example, has each reader read it, scores it and writes the result; many at once.

`run` is the place to start. An example that the model fails on scores 0, and the next run tries it again. An example
that does not fit the window scores 0 for good. Any other problem (a full disk, a wrong setting) stops the run, and the
same command continues it: results are in the ledger, and a memory reader's turns are in its journal.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

from memagent._version import __version__
from memagent.agent import MemoryAgent
from memagent.bench.cells import cells
from memagent.bench.ledger import RUNS, Key, Ledger, write_cells
from memagent.bench.methods import MEMORY, METHODS, Job
from memagent.bench.plan import Plan, Sample, in_tokens
from memagent.bench.results import Cell, Result, Status
from memagent.bench.tracking import depths, track
from memagent.core.records import Trace, Turn, Usage
from memagent.core.scoring import METRICS, final_answer
from memagent.core.tokenizer import Tokenizer, count
from memagent.errors import BudgetError, DocumentError, ModelError, UsageError, WindowOverflow
from memagent.runs.watch import Watch
from memagent.tasks.example import Example, Length
from memagent.tasks.own_questions import OwnTask

_SHORT = 4096  # tokens: some shorter examples cannot be made, and trying takes only milliseconds
_FAILURES = 8
"""Number of failures in a row after which the model counts as dead; twice the concurrency if that is more."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Callbacks for a running benchmark. Work is counted in tokens of samples, once for each reader."""

    on_start: Callable[[int, int, int], None] = lambda examples, done, work: None
    """Called with the number of examples x readers, the number already done, and the work left."""
    on_turn: Callable[[int], None] = lambda tokens: None
    """Called with the number of tokens that a memory reader has just read."""
    on_result: Callable[[Result, int], None] = lambda result, tokens: None
    """Called with a result and the tokens of its sample that `on_turn` did not report."""
    on_note: Callable[[str], None] = lambda sentence: None
    """Called with a sentence to show once."""


def settings(plan: Plan, agent: MemoryAgent, extra: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that must be the same for all results in a folder."""
    return {
        "memagent": __version__,
        "model": agent.chat.model,
        "sampling": asdict(agent.chat.sampling),
        "window": agent.chat.window,
        "seed": plan.seed,
        "retrieve_tokens": plan.retrieve_tokens,
        "wonderwords": version("wonderwords"),
        **agent.settings,
        **extra,
    }


async def run(
    plan: Plan,
    agent: MemoryAgent,
    tokenizer: Tokenizer,
    folder: Path,
    *,
    extra: dict[str, Any] | None = None,
    concurrency: int = 16,
    progress: Progress | None = None,
) -> list[Cell]:
    """Read everything that is not yet read, and return the cells of all results in `folder`.

    Args:
        tokenizer: counts the lengths of examples.
        extra: further settings that must not change between the runs of a folder.
        concurrency: number of examples read at once.

    Raises:
        ModelError: the model cannot be reached, or fails on one example after another.
        RunError, StorageError: see `Ledger`.
    """
    progress = progress or Progress()
    if plan.shortened:
        plan = await asyncio.to_thread(_possible, plan, tokenizer, progress)
    await agent.chat.open()
    _check(plan, agent)
    with closing(Ledger(folder, settings(plan, agent, extra or {}))) as ledger:
        bench = _Bench(plan, agent, tokenizer, ledger, concurrency, progress)
        missing = bench.missing()
        await asyncio.to_thread(_try, missing, plan, tokenizer)
        waiting = iter(missing)
        workers = [asyncio.create_task(bench.work(waiting)) for _ in range(concurrency)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        ledger.tidy()
        found = cells(ledger.results())
        write_cells(folder, found)
        return found


def _check(plan: Plan, agent: MemoryAgent) -> None:
    """Refuse a plan that cannot work with this model, before anything is paid for."""
    if "truncate" in plan.readers and agent.chat.window is None:
        raise UsageError("The truncate reader needs the size of the model's context window: give --window.")
    in_box = agent.prompts.style == "boxed"
    for task in plan.tasks:
        if task.metrics[0].startswith("boxed") and (not set(plan.readers) <= MEMORY.keys() or not in_box):
            raise UsageError(
                f"{task.name} is scored by the boxed answer, which only memory readers give: give --reader memory and "
                "--answer boxed."
            )
    if MEMORY.keys() & set(plan.readers):
        agent.check_budget("?")
        for task in plan.tasks:
            for question in task.questions if isinstance(task, OwnTask) else ():
                agent.check_budget(question.question)


def _possible(plan: Plan, tokenizer: Tokenizer, progress: Progress) -> Plan:
    """Return the plan without lengths that a task's data cannot fill: a preset has the same lengths for all tasks."""
    left_out: set[tuple[str, Length]] = set()
    for task in plan.tasks:
        for length in sorted(plan.lengths_of(task), reverse=True):
            try:
                task.example(length, 0, plan.seed, tokenizer)
                break
            except UsageError as error:
                left_out.add((task.name, length))
                progress.on_note(f"Left out: {error}")
    return replace(plan, left_out=frozenset(left_out))


def _try(missing: list[tuple[Sample, list[str]]], plan: Plan, tokenizer: Tokenizer) -> None:
    """Make the longest example of each task, and all short ones.

    This reports an impossible length before anything is paid for.
    """
    longest = {sample.task.name: sample for sample, _ in sorted(missing, key=lambda each: expected_tokens(each[0]))}
    short = [sample for sample, _ in missing if sample.length.unit == "tokens" and sample.length.value < _SHORT]
    for sample in [*longest.values(), *short]:
        sample.task.example(sample.length, sample.number, plan.seed, tokenizer)


class _Bench:
    """A run under way, with the state that its workers share."""

    def __init__(
        self,
        plan: Plan,
        agent: MemoryAgent,
        tokenizer: Tokenizer,
        ledger: Ledger,
        concurrency: int,
        progress: Progress,
    ) -> None:
        self._plan, self._agent, self._tokenizer, self._ledger = plan, agent, tokenizer, ledger
        self._progress = progress
        self._drawing = asyncio.Lock()  # one example at a time: tasks cache counts that threads must not share
        self._failed = 0  # failures in a row; overflows do not count
        self._enough = max(_FAILURES, 2 * concurrency)

    def missing(self) -> list[tuple[Sample, list[str]]]:
        """Return the samples that some reader still has to read."""
        left, total, done, work = [], 0, 0, 0
        for sample in self._plan.samples_in_order():
            readers = [reader for reader in self._plan.readers if not self._ledger.done(self._key(sample, reader))]
            total += len(self._plan.readers)
            done += len(self._plan.readers) - len(readers)
            work += len(readers) * expected_tokens(sample)
            if readers:
                left.append((sample, readers))
        # Samples that failed before come last, so that they do not keep a run from samples it has not tried.
        left.sort(key=lambda each: any(self._ledger.attempts(self._key(each[0], reader)) for reader in each[1]))
        self._progress.on_start(total, done, work)
        return left

    async def work(self, waiting: Iterator[tuple[Sample, list[str]]]) -> None:
        for sample, readers in waiting:
            async with self._drawing:
                example = await asyncio.to_thread(
                    sample.task.example, sample.length, sample.number, self._plan.seed, self._tokenizer
                )
            for reader in readers:
                result, told = await self._read(sample, example, reader)
                self._ledger.append(result)
                self._progress.on_result(result, max(expected_tokens(sample) - told, 0))
                self._failed = {"failed": self._failed + 1, "done": 0, "overflow": self._failed}[result.status]
                if self._failed >= self._enough:
                    raise ModelError(
                        f"{self._failed} examples in a row failed, the last one with: {result.cause} Run the same "
                        "command to try them again."
                    )

    async def _read(self, sample: Sample, example: Example, reader: str) -> tuple[Result, int]:
        """Return the result, and the number of tokens that were reported while they were read."""
        told, read = 0, set[tuple[int, int]]()  # tokens reported; spans of the segments read
        spent = Usage()  # usage of this attempt

        def on_turn(_: int, turn: Turn) -> None:
            nonlocal told, spent
            spent += turn.completion.usage
            segment = turn.request.segment
            if segment and (segment.start, segment.end) not in read:  # skips a second look at a segment
                read.add((segment.start, segment.end))
                told += segment.tokens
                self._progress.on_turn(segment.tokens)

        key = self._key(sample, reader)
        job = Job(
            example,
            self._agent,
            self._tokenizer,
            sample.task.answer_tokens + count(self._tokenizer, example.template.rsplit("\n", 1)[-1]),
            self._plan.retrieve_tokens,
            self._ledger.folder / RUNS / run_name(key),
            Watch(on_turn=on_turn),
        )
        began = time.perf_counter()
        trace: Trace | None = None
        status: Status = "done"
        cause = ""
        try:
            trace = await METHODS[reader](job)
        except WindowOverflow as error:
            status, cause = "overflow", str(error)
        except (ModelError, BudgetError, DocumentError) as error:
            status, cause = "failed", str(error)
        seconds = time.perf_counter() - began
        return self._result(
            sample, example, reader, trace, status, cause, trace.usage if trace else spent, seconds
        ), told

    def _result(
        self,
        sample: Sample,
        example: Example,
        reader: str,
        trace: Trace | None,
        status: Status,
        cause: str,
        usage: Usage,
        seconds: float,
    ) -> Result:
        task, style = sample.task, self._agent.prompts.style
        in_box = reader in MEMORY and style == "boxed"  # other readers are not asked for a box
        metrics = [metric for metric in task.metrics if in_box or not metric.startswith("boxed")]
        prediction = (trace.answer or "") if trace else ""
        said = final_answer(prediction, style) if reader in MEMORY and style == "sentence" else prediction
        scored = {metric: prediction if metric.startswith("string_match") else said for metric in metrics}
        scores = {metric: METRICS[metric](text, example.answers) if trace else 0.0 for metric, text in scored.items()}
        solved = scores[metrics[0]] == 1
        answer = prediction if metrics[0].startswith("string_match") else final_answer(said, style)
        return Result(
            task=task.name,
            length=sample.length.value,
            unit=sample.length.unit,
            number=sample.number,
            example=_fingerprint(example),
            reader=reader,
            model=self._agent.chat.model,
            status=status,
            cause=cause,
            attempts=self._ledger.attempts(self._key(sample, reader)) + 1,
            scores=scores,
            question=example.question,
            answers=example.answers,
            prediction=prediction,
            memory=trace.memory if trace else "",
            depths=depths(example) if task.placed else (),
            facts=track(example, trace, answer, solved) if trace and reader in MEMORY else (),
            tokens=example.tokens,
            turns=len(trace.turns) if trace else 0,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            model_seconds=round(usage.seconds, 4),
            seconds=round(seconds, 4),
        )

    def _key(self, sample: Sample, reader: str) -> Key:
        length = sample.length
        return sample.task.name, length.unit, length.value, sample.number, reader, self._agent.chat.model


def expected_tokens(sample: Sample) -> int:
    """Estimate the tokens of a sample before it is made."""
    if isinstance(sample.task, OwnTask):
        return sample.task.expected_tokens(sample.number)
    return in_tokens(sample.length)


def _fingerprint(example: Example) -> str:
    """Return a fingerprint that is the same for results of the same example with the same right answers."""
    whole = "\0".join([example.prompt(), *example.answers])
    return sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def run_name(key: Key) -> str:
    """Return the name of the folder for a memory reader's journal, such as `niah_single_1-4k-7`."""
    task, unit, length, number, reader, _ = key
    name = re.sub(r"[^0-9A-Za-z_.]+", "_", task)
    if name != task:
        name += f"-{sha256(task.encode()).hexdigest()[:8]}"
    return f"{name}-{Length(length, unit)}-{number}{'' if reader == 'memory' else f'-{reader}'}"
