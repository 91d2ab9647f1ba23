"""Results such as a benchmark run leaves, drawn from a seed, for tests of tables, charts and reports."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import groupby
from math import sqrt

from memagent.bench.results import Cell, Result, State, Status, Tracked
from memagent.tasks.example import Length

READERS = ("memory", "direct", "truncate", "retrieve")
WINDOW = 32 * 1024  # tokens of the model's context window
SEGMENT = 4096  # tokens
_FACTS = {"niah_multivalue": 4, "niah_multiquery": 4, "vt": 5, "cwe": 10, "fwe": 3, "qa_2": 2, "hqa": 2}
_TOKENS_A_PARAGRAPH = 140


def tokens(*values: int) -> list[Length]:
    return [Length(value) for value in values]


def paragraphs(*values: int) -> list[Length]:
    return [Length(value, "paragraphs") for value in values]


def metrics(task: str) -> tuple[str, ...]:
    if task == "hqa":
        return "sub_em", "exact_match", "f1", "sub_em_legacy"
    return ("string_match_part", "exact_match", "f1") if task.startswith("qa_") else ("string_match_all",)


def make_results(
    tasks: Sequence[str],
    lengths: Sequence[Length],
    readers: Sequence[str] = ("memory",),
    samples: int = 20,
    model: str = "smollm2-360m",
    seed: int = 1,
) -> list[Result]:
    """Return `samples` results for each task, length and reader."""
    source = random.Random(seed)
    return [
        _result(source, task, length, number, reader, model)
        for task in tasks
        for length in lengths
        for reader in readers
        for number in range(samples)
    ]


def _result(source: random.Random, task: str, length: Length, number: int, reader: str, model: str) -> Result:
    target = length.value * _TOKENS_A_PARAGRAPH if length.unit == "paragraphs" else length.value or 3000
    size = round(target * source.uniform(0.992, 1.0))
    steps = -(-size // SEGMENT)
    depths = tuple(sorted(source.random() for _ in range(_FACTS.get(task, 1))))
    facts = tuple(_tracked(source, depth, steps) for depth in depths) if reader == "memory" else ()
    status: Status = "done"
    if reader == "direct" and size > WINDOW:
        status = "overflow"
    elif source.random() < 0.01:
        status = "failed"
    if reader == "memory":
        share = sum(fact.state == "answered" for fact in facts) / len(facts)
    else:
        seen = {"direct": 1.0, "truncate": min(1.0, WINDOW / size), "retrieve": 0.8}[reader]
        share = sum(source.random() < 0.85 * seen for _ in depths) / len(depths)
    score = share if "string_match_all" in metrics(task) else float(share == 1)
    scores = dict.fromkeys(metrics(task), score if status == "done" else 0.0)
    if "f1" in scores:
        scores["f1"] *= 0.9
    read = {"memory": size + 800 * steps, "direct": size, "truncate": min(size, WINDOW), "retrieve": 4000}[reader]
    return Result(
        task=task, length=length.value, unit=length.unit, number=number, example=f"{task}/{length}/{number}",
        reader=reader, model=model, status=status,
        cause="" if status == "done" else "The server at <host> replied 500 & closed the connection."
        if status == "failed" else f"The prompt has {size:,} tokens, the window {WINDOW:,}.",
        attempts=3 if status == "failed" else 1,
        scores=scores,
        question=f"What is asked in example {number}?",
        answers=tuple(str(source.randrange(10**6, 10**7)) for _ in depths),
        prediction=f"The answer is \\boxed{{{source.randrange(10**6, 10**7)}}}." if status == "done" else "",
        memory="The special magic number for <b>big-cat</b> is 1234567.\n" * 3 if reader == "memory" else "",
        depths=() if task in ("cwe", "fwe") else depths,
        facts=facts if status == "done" else (),
        tokens=size,
        turns=steps + 1 if reader == "memory" else 1,
        prompt_tokens=read if status == "done" else 0,
        completion_tokens=120 * steps if reader == "memory" else 40,
        model_seconds=(0.4 + read * 0.0021) * source.uniform(0.9, 1.1) if status == "done" else 0.0,
        seconds=(0.5 + read * 0.0024) * source.uniform(0.9, 1.1),
    )  # fmt: skip


def _tracked(source: random.Random, depth: float, steps: int) -> Tracked:
    step = min(int(depth * steps) + 1, steps)
    state: State = "answered"
    lost_at = None
    if source.random() < 0.1:
        state = "never written"
    elif step < steps and source.random() < 0.02 * (steps - step) ** 0.7:
        state, lost_at = "lost", min(steps, step + 1 + int(source.expovariate(0.3)))
    elif source.random() < 0.05:
        state = "not answered"
    return Tracked(depth, step, state, lost_at)


def make_cells(results: Iterable[Result]) -> list[Cell]:
    """Return the cells of these results, in their order. Intervals are Wilson's, even if scores are fractions."""
    cells = []
    for (task, length, unit, reader, model), group in groupby(
        results, lambda result: (result.task, result.length, result.unit, result.reader, result.model)
    ):
        members = list(group)
        for metric in members[0].scores:
            score = sum(result.scores[metric] for result in members) / len(members)
            low, high = wilson(score, len(members))
            cells.append(
                Cell(
                    task=task, length=length, unit=unit, reader=reader, model=model, metric=metric,
                    score=100 * score, low=100 * low, high=100 * high, samples=len(members),
                    failed=sum(result.status == "failed" for result in members),
                    overflow=sum(result.status == "overflow" for result in members),
                    tokens=sum(result.tokens for result in members) / len(members),
                    prompt_tokens=sum(result.prompt_tokens for result in members),
                    completion_tokens=sum(result.completion_tokens for result in members),
                    causes=_causes(members, metric),
                )
            )  # fmt: skip
    return cells


def wilson(share: float, samples: int) -> tuple[float, float]:
    z = 1.959964
    middle = (share + z * z / (2 * samples)) / (1 + z * z / samples)
    half = z / (1 + z * z / samples) * sqrt(share * (1 - share) / samples + z * z / (4 * samples * samples))
    return max(0.0, middle - half), min(1.0, middle + half)


def _causes(members: Iterable[Result], metric: str) -> dict[str, int]:
    causes: dict[str, int] = {}
    for result in members:
        states = {fact.state for fact in result.facts}
        for state in ("never written", "lost", "not answered"):
            if state in states and result.scores[metric] < 1:
                causes[state] = causes.get(state, 0) + 1
                break
    return causes


def one_cell(**changes: object) -> Cell:
    """Return a plain cell with changes."""
    cell = Cell("niah_single_1", 4096, "tokens", "memory", "m", "string_match_all", 83.6, 75.1, 90.2, 100, 0, 0,
                4090.0, 500_000, 12_000, {})  # fmt: skip
    return replace(cell, **changes)  # type: ignore[arg-type]
