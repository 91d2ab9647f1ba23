from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from memagent.bench.compare import ALL, Difference, compare
from memagent.bench.results import Result
from memagent.core.intervals import paired

RESULT = Result(
    task="vt", length=4096, unit="tokens", number=0, example="0", reader="memory", model="small", status="done",
    cause="", attempts=1, scores={"string_match_all": 0.0}, question="?", answers=("A",), prediction="A", memory="",
    depths=(), facts=(), tokens=4090, turns=1, prompt_tokens=1, completion_tokens=1, model_seconds=0.0, seconds=0.0,
)  # fmt: skip


def run(*scores: float, first: int = 0, **fields: Any) -> list[Result]:
    """Return results numbered from `first`, with these scores and fields."""
    return [
        replace(RESULT, number=number, example=str(number), scores={"string_match_all": score, "f1": 0.5}, **fields)
        for number, score in enumerate(scores, first)
    ]


def test_an_example_is_compared_with_itself_and_by_the_first_metric() -> None:
    a = run(0, 0.25, 1, 1)
    b = run(1, 0.5, 1, 0.75)
    cell, everything = compare(a, reversed(b))
    _, low, high = paired([1, 0.25, 0, -0.25])
    assert cell == Difference(
        task="vt", length=4096, unit="tokens", metric="string_match_all", compared="memory",
        a=56.25, b=81.25, difference=25, low=round(100 * low, 4), high=round(100 * high, 4),
        pairs=4, failed=0, unpaired=0,
    )  # fmt: skip
    assert everything == replace(cell, task=ALL, length=0, unit="own", metric="")


def test_failed_examples_are_told() -> None:
    b = [*run(1, 1), *run(0, 0, first=2, status="failed", cause="No answer.")]
    cell, everything = compare(run(1, 1, 1, 1), b)
    assert (cell.pairs, cell.failed, everything.failed) == (4, 2, 2)


def test_results_with_other_right_answers_or_of_the_same_text_are_other_examples() -> None:
    twice = [replace(each, example="same") for each in run(1, 0)]
    assert [line.pairs for line in compare(twice, twice)] == [2, 2]


def test_what_is_hard_for_both_runs_does_not_widen_the_interval() -> None:
    hard = [0.0, 1.0] * 50
    cell, _ = compare(run(*(0.5 * score for score in hard)), run(*(0.5 * score + 0.25 for score in hard)))
    assert cell.difference == 25
    assert cell.high - cell.low < 10


def test_examples_of_one_run_alone_are_counted_and_not_compared() -> None:
    a = run(0, 0, 1)
    b = run(1, 1, 0, 0, first=1)
    cell, everything = compare(a, b)
    assert (cell.a, cell.b, cell.pairs, cell.unpaired) == (50, 100, 2, 3)
    assert (everything.pairs, everything.unpaired) == (2, 3)


def test_cells_of_one_run_alone_count_in_the_last_line() -> None:
    a = run(1, 1) + run(0, 0, length=8192) + run(1, reader="direct")
    b = run(1, 0) + run(0, 0, 0, task="cwe")
    cell, everything = compare(a, b)
    assert (cell.length, cell.pairs, cell.unpaired) == (4096, 2, 0)
    assert (everything.pairs, everything.unpaired) == (2, 6)


def test_lines_are_in_order_and_the_last_is_over_everything() -> None:
    a = run(0, 0, length=8192) + run(0, 0) + run(0, task="hqa", unit="paragraphs", length=50)
    b = run(1, 0) + run(1, task="hqa", unit="paragraphs", length=50) + run(1, 1, length=8192)
    lines = compare(a, b)
    assert [(line.task, line.length, line.unit, line.difference) for line in lines] == [
        ("hqa", 50, "paragraphs", 100),
        ("vt", 4096, "tokens", 50),
        ("vt", 8192, "tokens", 100),
        (ALL, 0, "own", 80),
    ]
    assert lines[-1].pairs == 5


def test_a_reader_is_compared_with_itself() -> None:
    a = run(0, 0) + run(1, 1, reader="direct") + run(1, reader="truncate")
    b = run(1, 1) + run(0, 1, reader="direct") + run(1, reader="retrieve")
    direct, memory, everything = compare(a, b)
    assert (direct.compared, direct.difference) == ("direct", -50)
    assert (memory.compared, memory.difference) == ("memory", 100)
    assert (everything.compared, everything.difference, everything.pairs, everything.unpaired) == (
        "all readers", 25, 4, 2,
    )  # fmt: skip


def test_several_readings_of_an_example_are_not_taken_for_independent() -> None:
    scores_a, scores_b = [0.0] * 20, [1.0, 0.0] * 10
    once = compare(run(*scores_a), run(*scores_b))[-1]
    a = [result for reader in ("memory", "direct", "truncate") for result in run(*scores_a, reader=reader)]
    b = [result for reader in ("memory", "direct", "truncate") for result in run(*scores_b, reader=reader)]
    thrice = compare(a, b)[-1]
    assert (thrice.low, thrice.high) == (once.low, once.high)
    assert thrice.pairs == 60


@pytest.mark.parametrize(
    ("theirs", "compared"),
    [
        ({"reader": "direct"}, "memory → direct"),
        ({"model": "large"}, "memory · small → memory · large"),
        ({"reader": "direct", "model": "large"}, "memory · small → direct · large"),
    ],
)
def test_one_reader_or_model_is_compared_with_another(theirs: dict[str, Any], compared: str) -> None:
    cell, everything = compare(run(0, 1), run(1, 1, **theirs))
    assert (cell.compared, cell.difference, cell.pairs) == (compared, 50, 2)
    assert everything.compared == compared


def test_each_reader_is_compared_across_models() -> None:
    a = run(0) + run(0, reader="direct")
    b = run(1, model="large") + run(0, reader="direct", model="large")
    lines = compare(a, b)
    assert [(line.compared, line.difference) for line in lines[:-1]] == [
        ("direct · small → direct · large", 0),
        ("memory · small → memory · large", 100),
    ]


def test_what_could_be_compared_with_several_is_compared_with_none() -> None:
    assert compare(run(0), run(1, reader="direct") + run(1, reader="truncate")) == []
    assert compare(run(0), run(1, model="large") + run(1, model="larger")) == []


def test_runs_without_a_common_example_have_no_lines() -> None:
    assert compare([], []) == []
    assert compare(run(1), run(1, first=1)) == []
    assert compare(run(1), [replace(RESULT, scores={"string_match_part": 1.0})]) == []


def test_the_last_result_of_an_example_counts() -> None:
    cell, _ = compare(run(0) + run(1), run(1))
    assert (cell.a, cell.difference, cell.pairs) == (100, 0, 1)
