from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from make_results import make_cells, make_results, one_cell, paragraphs, tokens
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from memagent.bench import charts, published
from memagent.bench.results import Result, Tracked
from memagent.tasks.example import Length

MEMORY, DIRECT = ("memory", "smollm2-360m"), ("direct", "smollm2-360m")


def a_result(**changes: object) -> Result:
    (result,) = make_results(["niah_single_1"], tokens(8192), samples=1)
    return replace(result, status="done", **changes)  # type: ignore[arg-type]


def titles(figure: Figure | None) -> list[str]:
    assert figure is not None
    return [axes.get_title(loc="left") for axes in figure.axes]


def heights(figure: Figure | None) -> dict[str, float]:
    """Return the heights of the bars in the first chart, by colour."""
    assert figure is not None
    bars = [patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle)]
    return {to_hex(bar.get_facecolor()): bar.get_height() for bar in bars}


def test_facts_are_counted_by_length_and_tenth() -> None:
    facts = (Tracked(0.0, 1, "answered"), Tracked(0.05, 1, "lost", 2), Tracked(0.95, 3, "answered"),
             Tracked(1.0, 3, "not answered"), Tracked(0.5, 2, "lost", 3))  # fmt: skip
    seen = charts.see([a_result(facts=facts), a_result(facts=facts[1:2])])[MEMORY]
    place = Length(8192)
    assert seen.facts == {(place, 0): 3, (place, 9): 2, (place, 5): 1}
    assert seen.answered == {(place, 0): 1.0, (place, 9): 1.0, (place, 5): 0.0}
    assert seen.lost_at == {2: 2, 3: 1}


def test_other_readers_have_the_fate_of_a_lone_fact_in_their_score() -> None:
    lone = a_result(reader="direct", facts=(), depths=(0.42,), scores={"string_match_all": 1.0})
    two = replace(lone, depths=(0.1, 0.2))
    failed = replace(lone, status="failed", scores={"string_match_all": 0.0})
    seen = charts.see([lone, two, failed])[DIRECT]
    assert (seen.facts, seen.answered) == ({(Length(8192), 4): 1}, {(Length(8192), 4): 1.0})
    assert len(seen.times) == 2


def test_the_fit_is_least_squares() -> None:
    assert charts.linear_fit([(1000, 3.0), (2000, 5.0), (4000, 9.0)]) == pytest.approx((0.002, 1.0, 1.0))
    slope, intercept, squared = charts.linear_fit([(1, 1.0), (2, 1.0), (3, 4.0)]) or (0, 0, 0)
    assert (slope, intercept, squared) == pytest.approx((1.5, -1.0, 0.75))


@pytest.mark.parametrize("times", [[], [(1000, 1.0)], [(1000, 1.0), (1010, 2.0)], [(1000, 0.0), (4000, 0.0)]])
def test_there_is_no_fit_without_other_lengths_or_times(times: list[tuple[int, float]]) -> None:
    assert charts.linear_fit(times) is None


def test_accuracy_has_a_panel_for_the_average_and_one_for_each_task() -> None:
    cells = [one_cell(task=task, length=length) for task in ("vt", "qa_1") for length in (4096, 8192)]
    assert titles(charts.accuracy(cells)) == ["average of 2 tasks", "vt", "qa_1"]
    assert titles(charts.accuracy(cells[:2])) == ["vt"]
    assert charts.accuracy([]) is None


def test_accuracy_draws_scores_and_intervals_over_tokens() -> None:
    figure = charts.accuracy([one_cell(length=4096), one_cell(length=16384, score=50.0, low=40.0, high=60.0)])
    assert figure is not None
    line, _, (intervals,) = figure.axes[0].containers[0]
    assert line.get_xydata().tolist() == [[4096.0, 83.6], [16384.0, 50.0]]
    assert [segment[:, 1].tolist() for segment in intervals.get_segments()] == [[75.1, 90.2], [40.0, 60.0]]


def test_accuracy_crosses_what_overflowed_and_leaves_it_out_of_the_line() -> None:
    over = one_cell(length=16384, score=0.0, low=0.0, high=3.0, overflow=100)
    figure = charts.accuracy([one_cell(), over])
    assert figure is not None
    (cross,) = [line for line in figure.axes[0].lines if line.get_marker() == "x"]
    assert cross.get_xydata().tolist() == [[16384.0, 0.0]]  # type: ignore[union-attr]
    assert figure.axes[0].containers[0][0].get_xydata().tolist() == [[4096.0, 83.6]]
    assert "overflows the window" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_hqa_has_the_lines_of_the_paper_within_its_lengths() -> None:
    cells = make_cells(make_results(["hqa"], paragraphs(50, 100, 200), samples=5))
    figure = charts.accuracy(cells)
    assert figure is not None
    names = [text.get_text() for text in figure.axes[0].texts]
    assert sorted(names) == sorted(published.RULER_HQA)
    grey = [line.get_xydata()[:, 1].tolist()  # type: ignore[index, union-attr]
            for line in figure.axes[0].lines if line.get_color() == "#a8a297"]  # fmt: skip
    assert grey == [list(row[:3]) for row in published.RULER_HQA.values()]
    assert titles(figure) == ["hqa (grey: reported by the paper)"]
    assert titles(charts.accuracy([one_cell(task="hqa", length=4096)])) == ["hqa"]


def test_the_ten_tasks_have_the_claim_of_the_paper_from_8k_on() -> None:
    figure = charts.accuracy([one_cell(task=task, length=x) for task in ("fwe", "cwe") for x in (4096, 16384)])
    assert figure is not None
    dashed = {axes.get_title(loc="left"): [line.get_xydata().tolist() for line in axes.lines  # type: ignore[union-attr]
                                           if line.get_linestyle() == "--"] for axes in figure.axes}  # fmt: skip
    assert dashed == {"average of 2 tasks": [], "fwe": [[[8192, 95], [16384 * 1.3, 95]]], "cwe": []}


def test_the_heat_map_has_a_map_for_each_reader_and_hatches_overflows() -> None:
    cells = [one_cell(), one_cell(length=8192, score=50.4), one_cell(reader="direct"),
             one_cell(reader="direct", length=8192, overflow=100)]  # fmt: skip
    figure = charts.heatmap(cells)
    assert titles(figure) == ["memory", "direct"]
    assert figure is not None
    assert [[text.get_text() for text in axes.texts] for axes in figure.axes] == [["84", "50"], ["84"]]
    assert [[patch.get_hatch() for patch in axes.collections[1:]] for axes in figure.axes] == [[], ["////"]]
    assert charts.heatmap(cells[:1]) is None


def test_time_names_slope_and_fit() -> None:
    seen = charts.see([a_result(tokens=1024 * k, model_seconds=3.0 + 2 * k) for k in (1, 2, 4)])
    figure = charts.time(seen)
    assert figure is not None
    (name,) = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]  # type: ignore[union-attr]
    assert name == "memory: 2.000 s per 1K tokens, R² 1.000"
    assert charts.time(charts.see([a_result()])) is None


def test_depth_shows_the_share_answered() -> None:
    facts = (Tracked(0.01, 1, "answered"), Tracked(0.02, 1, "lost", 2), Tracked(0.99, 1, "answered"))
    figure = charts.depth(charts.see([a_result(facts=facts)]))
    assert titles(figure) == ["memory: 3 facts"]
    assert figure is not None
    assert [(text.get_position(), text.get_text()) for text in figure.axes[0].texts] == [
        ((0.5, 0.5), "50"),
        ((0.5, 9.5), "100"),
    ]
    assert charts.depth(charts.see([a_result(facts=(), depths=())])) is None


def test_causes_are_stacked_in_percent_of_the_examples() -> None:
    cells = [one_cell(causes={"lost": 10, "never written": 5}, failed=1), one_cell(task="qa_1", score=100.0),
             one_cell(task="own", score=10.0)]  # fmt: skip
    figure = charts.causes(cells, {("memory", "m"): charts.Seen(lost_at=Counter({3: 10, 5: 2}))})
    assert titles(figure) == ["memory: examples gone wrong", "when facts were lost"]
    assert figure is not None
    # Percent of 200 examples: the facts of "own" were not tracked.
    assert heights(figure) == {"#ddaa33": 2.5, "#bb5566": 5.0, "#4477aa": 0.0, "#9a958c": 0.5}
    assert [patch.get_height() for patch in figure.axes[1].patches if isinstance(patch, Rectangle)] == [10, 0, 2]
    assert charts.causes([one_cell(score=100.0)], {}) is None


def test_a_cell_that_is_wrong_by_failures_alone_counts_among_the_causes() -> None:
    cells = [one_cell(causes={"lost": 10}), one_cell(task="vt", score=90.0, failed=10)]
    figure = charts.causes(cells, {("memory", "m"): charts.Seen()})
    assert heights(figure) == {"#ddaa33": 0.0, "#bb5566": 5.0, "#4477aa": 0.0, "#9a958c": 5.0}
