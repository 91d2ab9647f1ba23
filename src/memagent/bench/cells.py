"""Turns results into cells: the score of each task, length, reader and metric with its 95 % interval."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from memagent.bench.results import Cell, Result, Status
from memagent.bench.tracking import cause
from memagent.core.intervals import interval
from memagent.core.scoring import BINARY


@dataclass(slots=True)
class _Group:
    """Running totals of the examples of one task, length, reader and model."""

    scores: dict[str, list[float]] = field(default_factory=dict)
    statuses: Counter[Status] = field(default_factory=Counter)
    causes: Counter[str] = field(default_factory=Counter)
    tokens: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def add(self, result: Result) -> None:
        for metric, score in result.scores.items():
            self.scores.setdefault(metric, []).append(score)
        self.statuses[result.status] += 1
        if result.facts and next(iter(result.scores.values())) < 1:
            self.causes[cause(result.facts)] += 1
        self.tokens += result.tokens
        self.prompt_tokens += result.prompt_tokens
        self.completion_tokens += result.completion_tokens


def cells(results: Iterable[Result]) -> list[Cell]:
    """Return cells in the order task, length, reader, model. Within a group, the task's main metric comes first.

    Failed examples and overflows count as 0. Scores range from 0 to 100.
    """
    groups: dict[tuple[str, str, int, str, str], _Group] = {}
    for result in results:
        place = result.task, result.unit, result.length, result.reader, result.model
        groups.setdefault(place, _Group()).add(result)
    found = []
    for (task, unit, length, reader, model), group in sorted(groups.items()):
        for metric, scores in group.scores.items():
            mean, low, high = interval(scores, metric in BINARY)
            found.append(
                Cell(
                    task=task,
                    length=length,
                    unit=unit,  # type: ignore[arg-type]
                    reader=reader,
                    model=model,
                    metric=metric,
                    score=round(100 * mean, 4),
                    low=round(100 * low, 4),
                    high=round(100 * high, 4),
                    samples=len(scores),
                    failed=group.statuses["failed"],
                    overflow=group.statuses["overflow"],
                    tokens=round(group.tokens / len(scores), 1),
                    prompt_tokens=group.prompt_tokens,
                    completion_tokens=group.completion_tokens,
                    causes=dict(sorted(group.causes.items())),
                )
            )
    return found
