"""Running a benchmark: make an example, have each reader read it, score, put it on the disk; many at once.

The story is `run`. An example that the model fails on scores 0 and is tried again by the next run; one that does not
fit the window scores 0 for good. Whatever else goes wrong (a full disk, a wrong setting) stops the run, and the same
command goes on: results are in the ledger, and a memory reader's turns in its journal.
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

_SHORT = 4096  # tokens: of shorter examples some cannot be made, and trying takes milliseconds
_FAILURES = 8
"""After so many failures in a row, or twice as many as run at once, the model is taken for dead."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Callbacks while a benchmark runs. Work is counted in tokens of samples, once for each reader."""

    on_start: Callable[[int, int, int], None] = lambda examples, done, work: None
    """Examples x readers in all, those that earlier runs have done, and the work that is left."""
    on_turn: Callable[[int], None] = lambda tokens: None
    """Tokens that a memory reader has just read."""
    on_result: Callable[[Result, int], None] = lambda result, tokens: None
    """A result, and the tokens of its sample that were not yet told by turns."""
    on_note: Callable[[str], None] = lambda sentence: None
    """Something to be told once."""


def settings(plan: Plan, agent: MemoryAgent, extra: dict[str, Any]) -> dict[str, Any]:
    """What must be the same for results to stand side by side in one folder."""
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
    """Read what is not yet read, and give the cells of all results in `folder`.

    Args:
        tokenizer: counts the lengths of examples.
        extra: further settings that must not change between the runs of a folder.
        concurrency: examples at once.

    Raises:
        ModelError: the model cannot be reached, or fails on one example after the other.
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
    """Refuse what could not go well with this model, before anything is paid for."""
    if "truncate" in plan.readers and agent.chat.window is None:
        raise UsageError("The reader truncate must know the model's window: give --window.")
    in_box = agent.prompts.style == "boxed"
    for task in plan.tasks:
        if task.metrics[0].startswith("boxed") and (not set(plan.readers) <= MEMORY.keys() or not in_box):
            raise UsageError(f"{task.name} is scored by the box of an answer: only the reader memory is asked for one.")
    if MEMORY.keys() & set(plan.readers):
        agent.check_budget("?")
        for task in plan.tasks:
            for question in task.questions if isinstance(task, OwnTask) else ():
                agent.check_budget(question.question)


def _possible(plan: Plan, tokenizer: Tokenizer, progress: Progress) -> Plan:
    """The plan without the lengths that a task's data cannot fill: a preset has the same for all tasks."""
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
    """Make the longest example of each task, and all the short ones, so that a length that cannot be is told before
    anything is paid for."""
    longest = {sample.task.name: sample for sample, _ in sorted(missing, key=lambda each: expected_tokens(each[0]))}
    short = [sample for sample, _ in missing if sample.length.unit == "tokens" and sample.length.value < _SHORT]
    for sample in [*longest.values(), *short]:
        sample.task.example(sample.length, sample.number, plan.seed, tokenizer)


class _Bench:
    """A run under way: what its workers share."""

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
        self._drawing = asyncio.Lock()  # one example at a time: tasks keep counts that threads must not share
        self._failed = 0  # in a row, overflows not counted
        self._enough = max(_FAILURES, 2 * concurrency)

    def missing(self) -> list[tuple[Sample, list[str]]]:
        """The samples that some reader has still to read."""
        left, total, done, work = [], 0, 0, 0
        for sample in self._plan.samples_in_order():
            readers = [reader for reader in self._plan.readers if not self._ledger.done(self._key(sample, reader))]
            total += len(self._plan.readers)
            done += len(self._plan.readers) - len(readers)
            work += len(readers) * expected_tokens(sample)
            if readers:
                left.append((sample, readers))
        # What failed before comes last: it must not keep a run from what it has not tried.
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
                        f"{self._failed} examples in a row failed, the last one so: {result.cause} The same command "
                        "tries them again."
                    )

    async def _read(self, sample: Sample, example: Example, reader: str) -> tuple[Result, int]:
        """The result, and how many tokens were told of as they were read."""
        told, read = 0, 0  # tokens told of; characters of the document
        spent = Usage()  # in this attempt

        def on_turn(_: int, turn: Turn) -> None:
            nonlocal told, read, spent
            spent += turn.completion.usage
            segment = turn.request.segment
            if segment and segment.end > read:  # not one that is looked at again
                told, read = told + segment.tokens, segment.end
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
        in_box = reader in MEMORY and style == "boxed"  # nobody else is asked for a box
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
    """About how long a sample is, before it is made."""
    if isinstance(sample.task, OwnTask):
        return sample.task.expected_tokens(sample.number)
    return in_tokens(sample.length)


def _fingerprint(example: Example) -> str:
    """Two results with the same one are of the same example, with the same right answers."""
    whole = "\0".join([example.prompt(), *example.answers])
    return sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def run_name(key: Key) -> str:
    """The folder of a memory reader's journal: `niah_single_1-4k-7`."""
    task, unit, length, number, reader, _ = key
    name = re.sub(r"[^0-9A-Za-z_.]+", "_", task)
    if name != task:
        name += f"-{sha256(task.encode()).hexdigest()[:8]}"
    return f"{name}-{Length(length, unit)}-{number}{'' if reader == 'memory' else f'-{reader}'}"
