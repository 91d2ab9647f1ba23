"""Compares the readers of one benchmark on the same examples: their scores, their speed and their tokens."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from memagent.bench.compare import ALL, Difference, compare
from memagent.bench.costs import Reader, readers_in_order
from memagent.bench.results import Result


@dataclass(frozen=True, slots=True)
class Contest:
    """Comparison of a reader with the first reader, on the examples that both have."""

    reader: Reader
    difference: Difference
    """The reader's score minus the first reader's, with the paired interval."""
    times_as_fast: float | None
    """The first reader's seconds divided by the reader's own. They are wall time, so that a reader gains from making
    calls at the same time. None if there is no example that both read."""
    share_of_tokens: float | None
    """The reader's tokens, prompts and completions together, divided by the first reader's. None in the same case."""


def contests(results: Iterable[Result]) -> list[Contest]:
    """Return a Contest for each task and length of each reader but the first, and one over everything.

    Each model has its own first reader: its first in the order of `METHODS`. If either reader failed on an example or
    overflowed the window, the example counts for the score, but not for the seconds and the tokens.
    """
    runs: dict[Reader, list[Result]] = {}
    for result in results:
        runs.setdefault((result.reader, result.model), []).append(result)
    found, firsts = [], dict[str, Reader]()
    for reader in readers_in_order(runs):
        first = firsts.setdefault(reader[1], reader)
        if reader != first:
            for line in compare(runs[first], runs[reader]):
                found.append(Contest(reader, line, *_ratios(line, runs[first], runs[reader])))
    return found


def _ratios(line: Difference, first: Iterable[Result], second: Iterable[Result]) -> tuple[float | None, float | None]:
    a, b = ({_example(each): each for each in run if _counts(each, line)} for run in (first, second))
    both = a.keys() & b.keys()
    if not both:
        return None, None
    seconds_a, seconds_b = (sum(run[example].seconds for example in both) for run in (a, b))
    tokens_a, tokens_b = (
        sum(run[example].prompt_tokens + run[example].completion_tokens for example in both) for run in (a, b)
    )
    return seconds_a / max(seconds_b, 1e-9), tokens_b / max(tokens_a, 1)


def _counts(result: Result, line: Difference) -> bool:
    here = (line.task, line.unit, line.length) in ((result.task, result.unit, result.length), (ALL, "own", 0))
    return here and result.status == "done"


def _example(result: Result) -> tuple[str, str, int, int, str]:
    return result.task, result.unit, result.length, result.number, result.example
