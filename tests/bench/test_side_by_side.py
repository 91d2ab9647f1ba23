from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from make_results import make_results, tokens

from memagent.bench.cells import cells
from memagent.bench.compare import ALL, compare
from memagent.bench.results import Result
from memagent.bench.side_by_side import contests
from memagent.bench.tradeoff import tradeoff
from memagent.core.limits import Price

RESULTS = make_results(["vt"], tokens(4096, 8192), ["memory", "retrieve"], 6)


def timed(reader: str, seconds: float, read: int, **fields: Any) -> list[Result]:
    one = next(each for each in RESULTS if each.status == "done")
    fields = {"reader": reader, "seconds": seconds, "prompt_tokens": read, "completion_tokens": 10, **fields}
    return [replace(one, number=number, example=str(number), **fields) for number in range(4)]


def test_each_reader_is_compared_with_the_first_on_the_same_examples() -> None:
    found = contests(RESULTS)
    memory, retrieve = ([each for each in RESULTS if each.reader == name] for name in ("memory", "retrieve"))
    assert [contest.difference for contest in found] == compare(memory, retrieve)
    assert [contest.difference.task for contest in found] == ["vt", "vt", ALL]
    assert {contest.reader[0] for contest in found} == {"retrieve"}


def test_seconds_and_tokens_are_those_of_examples_that_both_read() -> None:
    slow, quick = timed("memory", 8.0, 990), timed("search", 2.0, 90)
    failed = replace(quick[0], status="failed", seconds=100.0)
    for contest in contests([*slow, *quick[1:], failed]):
        assert contest.times_as_fast == pytest.approx(4)
        assert contest.share_of_tokens == pytest.approx(0.1)
        assert contest.difference.failed == 1


def test_models_are_compared_each_with_its_own_first_reader() -> None:
    both = [*timed("memory", 8.0, 1), *timed("search", 2.0, 1)]
    other = [replace(each, model="other", seconds=2 * each.seconds) for each in both if each.reader == "search"]
    assert {contest.reader for contest in contests([*both, *other])} == {("search", both[0].model)}


def test_one_reader_is_nothing_to_compare() -> None:
    alone = [each for each in RESULTS if each.reader == "memory"]
    assert contests(alone) == []
    assert tradeoff(cells(alone), alone) is None


def test_the_chart_has_a_point_for_each_reader_and_length_at_its_mean_cost() -> None:
    figure = tradeoff(cells(RESULTS), RESULTS, Price(1, 2))
    assert figure is not None
    seconds, spent, money = figure.axes
    assert [place.get_xlabel() for place in figure.axes] == [f"{x} an example" for x in ("seconds", "tokens", "money")]
    assert sorted(each.get_text() for each in seconds.texts) == ["4k", "4k", "8k", "8k"]
    read = [each for each in RESULTS if (each.reader, each.length, each.status) == ("retrieve", 4096, "done")]
    mean = sum(each.prompt_tokens + each.completion_tokens for each in read) / len(read)
    cost = sum(each.prompt_tokens + 2 * each.completion_tokens for each in read) / len(read) / 1e6
    for place, value in ((spent, mean), (money, cost)):
        drawn = [x for line in place.lines for x in line.get_xdata()]  # type: ignore[union-attr]
        assert any(x == pytest.approx(value) for x in drawn)
    unpriced = tradeoff(cells(RESULTS), RESULTS)
    assert unpriced is not None
    assert len(unpriced.axes) == 2
