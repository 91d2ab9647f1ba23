from __future__ import annotations

from dataclasses import replace

import pytest
from make_results import make_results, tokens

from memagent.bench.cells import cells
from memagent.bench.results import Tracked

[SOME] = make_results(["vt"], tokens(4096), samples=1)


def test_scores_are_means_in_percent_with_failures_and_overflows_as_0() -> None:
    scores = [1.0, 0.4, 0.0, 0.0]
    statuses = ["done", "done", "failed", "overflow"]
    results = [
        replace(SOME, number=number, scores={"string_match_all": score}, status=status, facts=())  # type: ignore[arg-type]
        for number, (score, status) in enumerate(zip(scores, statuses, strict=True))
    ]
    [cell] = cells(results)
    assert cell.score == pytest.approx(35)
    assert cell.low < 35 < cell.high
    assert (cell.samples, cell.failed, cell.overflow) == (4, 1, 1)
    assert cell.tokens == SOME.tokens
    assert cell.prompt_tokens == 4 * SOME.prompt_tokens


def test_a_0_1_score_has_a_wilson_interval() -> None:
    results = [replace(SOME, number=number, scores={"sub_em": float(number < 8)}, facts=()) for number in range(10)]
    [cell] = cells(results)
    # Wilson's interval of 8 of 10, as tabulated: 49.0 to 94.3 %
    assert (round(cell.low, 1), round(cell.high, 1)) == (49.0, 94.3)


def test_each_example_with_a_fault_counts_once_for_the_earliest() -> None:
    lost, never = Tracked(0.1, 1, "lost", 3), Tracked(0.5, 2, "never written")
    results = [
        replace(SOME, number=0, scores={"string_match_all": 0.0}, facts=(lost, never)),
        replace(SOME, number=1, scores={"string_match_all": 0.5}, facts=(lost,)),
        replace(SOME, number=2, scores={"string_match_all": 1.0}, facts=(replace(lost, state="answered"),)),
    ]
    [cell] = cells(results)
    assert cell.causes == {"lost": 1, "never written": 1}


def test_cells_come_in_one_order_whatever_the_order_of_results() -> None:
    results = make_results(["vt", "fwe"], tokens(8192, 4096), ["memory", "direct"], samples=3)
    assert cells(results) == cells(reversed(results))
    assert [(cell.task, cell.length, cell.reader) for cell in cells(results)] == sorted(
        (task, length, reader) for task in ("vt", "fwe") for length in (4096, 8192) for reader in ("memory", "direct")
    )
