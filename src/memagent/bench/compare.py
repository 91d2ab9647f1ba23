"""Compares two runs on the same examples: how much better the second is, cell by cell and over everything.

Each example is compared with itself, and each reader with itself. A run of one reader or model can also be compared
with a run of another.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Set
from dataclasses import dataclass
from statistics import fmean

from memagent.bench.costs import Reader
from memagent.bench.results import Result
from memagent.core.intervals import paired
from memagent.tasks.example import Unit

ALL = "all"
"""Task of the last line, which covers everything. Its length is 0."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Difference between the scores of two runs on the examples that both have."""

    task: str
    length: int
    unit: Unit
    metric: str
    """Main metric of the results; empty if the line covers several metrics."""
    compared: str
    """Name of the reader, or of the two readers or models, such as "memory" or "truncate → memory"."""
    a: float
    b: float
    """Mean scores of the two runs, from 0 to 100."""
    difference: float
    """Difference b - a, with its 95 % interval: from -100 to 100."""
    low: float
    high: float
    pairs: int
    failed: int
    """Pairs in which a run failed on the example or overflowed the window: their 0 says nothing about an answer."""
    unpaired: int
    """Number of examples that only one run has. On the last line, number of results without a counterpart."""


Place = tuple[str, Unit, int, str]
"""Task, unit, length and metric."""
Pair = tuple[float, float]
"""The scores of one example in the two runs."""
Score = tuple[float, bool]
"""Score from 0 to 1, and whether the example was read."""
Run = dict[Place, dict[Reader, dict[str, Score]]]
"""Scores of a run, by place, then reader, then number and fingerprint of the example."""


def compare(a: Iterable[Result], b: Iterable[Result]) -> list[Difference]:
    """Return a line for each task, length, metric and reader that both runs have examples of, and one over everything.

    Empty if there are no such examples. If a reader has several results for an example, the last one counts.
    """
    run_a, run_b = _by_place(a), _by_place(b)
    models = {model for run in (run_a, run_b) for readers in run.values() for _, model in readers}
    lines = []
    examples: dict[tuple[Place, str], list[Pair]] = defaultdict(list)
    for place in sorted(run_a.keys() & run_b.keys()):
        for reader_a, reader_b in _counterparts(run_a[place].keys(), run_b[place].keys()):
            scores_a, scores_b = run_a[place][reader_a], run_b[place][reader_b]
            shared = sorted(scores_a.keys() & scores_b)
            pairs = {name: (scores_a[name][0], scores_b[name][0]) for name in shared}
            failed = sum(not (scores_a[name][1] and scores_b[name][1]) for name in shared)
            for name, pair in pairs.items():
                examples[place, name].append(pair)
            if pairs:
                label = _label(reader_a, reader_b, len(models) > 1)
                alone = len(scores_a.keys() ^ scores_b)
                lines.append(_difference(place, label, list(pairs.values()), len(pairs), failed, alone))
    if not lines:
        return []
    labels = {line.compared for line in lines}
    label = labels.pop() if len(labels) == 1 else "all readers"
    # Several readings of one example are not independent of each other, so their mean counts as one pair.
    means = [(fmean(a for a, _ in pairs), fmean(b for _, b in pairs)) for pairs in examples.values()]
    number = sum(line.pairs for line in lines)
    alone = _size(run_a) + _size(run_b) - 2 * number
    failed = sum(line.failed for line in lines)
    return [*lines, _difference((ALL, "own", 0, ""), label, means, number, failed, alone)]


def _by_place(results: Iterable[Result]) -> Run:
    run: Run = defaultdict(lambda: defaultdict(dict))
    for result in results:
        metric, score = next(iter(result.scores.items()))
        scores = run[result.task, result.unit, result.length, metric][result.reader, result.model]
        scores[f"{result.number}/{result.example}"] = score, result.status == "done"
    return run


def _size(run: Run) -> int:
    return sum(len(scores) for readers in run.values() for scores in readers.values())


def _counterparts(a: Set[Reader], b: Set[Reader]) -> list[tuple[Reader, Reader]]:
    """Return the pairs of readers to compare.

    A reader is paired with itself on the same model, or on another model if each run has it on only one. If the runs
    share no reader and each has only one, those two are paired.
    """
    found = [(reader, reader) for reader in a & b]
    for name in {name for name, _ in a}:
        ours = [reader for reader in a if reader[0] == name]
        theirs = [reader for reader in b if reader[0] == name]
        if len(ours) == len(theirs) == 1 and ours != theirs:
            found.append((ours[0], theirs[0]))
    if not found and len(a) == len(b) == 1:
        found = list(zip(a, b, strict=True))
    return sorted(found)


def _label(a: Reader, b: Reader, with_model: bool) -> str:
    names = dict.fromkeys(" · ".join(reader) if with_model else reader[0] for reader in (a, b))
    return " → ".join(names)


def _difference(place: Place, label: str, scores: list[Pair], pairs: int, failed: int, unpaired: int) -> Difference:
    task, unit, length, metric = place
    mean, low, high = paired([b - a for a, b in scores])
    return Difference(
        task=task,
        length=length,
        unit=unit,
        metric=metric,
        compared=label,
        a=round(100 * fmean(a for a, _ in scores), 4),
        b=round(100 * fmean(b for _, b in scores), 4),
        difference=round(100 * mean, 4),
        low=round(100 * low, 4),
        high=round(100 * high, 4),
        pairs=pairs,
        failed=failed,
        unpaired=unpaired,
    )
