from __future__ import annotations

import io
from dataclasses import replace
from math import sqrt

import pytest
from make_results import READERS, make_cells, make_results, one_cell, paragraphs, tokens
from rich.console import Console

from memagent.bench.costs import readers_in_order, totals
from memagent.bench.results import Cell, Result
from memagent.bench.table import caption, grids, render, shown, tasks_in_order
from memagent.evidence.page import duration
from memagent.tasks.catalog import RULER
from memagent.tasks.example import Length

MEMORY = ("memory", "m")


def printed(cells: list[Cell], results: list[Result], width: int, terminal: bool) -> str:
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=terminal, color_system=None)
    render(cells, console, totals(results))
    return file.getvalue()


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        (one_cell(), ("83.6", "[75.1–90.2]", "")),
        (one_cell(failed=2), ("83.6", "[75.1–90.2]", "2 failed")),
        (one_cell(failed=2, overflow=3), ("83.6", "[75.1–90.2]", "2 failed, 3 overflow")),
        (one_cell(overflow=100, score=0.0), ("overflow", "", "")),
        (one_cell(failed=100, score=0.0), ("failed", "", "")),
        (None, ("–", "", "")),
    ],
)
def test_a_cell_says_what_was_not_read(cell: Cell | None, words: tuple[str, str, str]) -> None:
    assert shown(cell) == words


def test_the_average_is_of_the_first_metrics_and_combines_the_intervals() -> None:
    cells = [
        one_cell(task="a", score=80.0, low=70.0, high=90.0, failed=1),
        one_cell(task="b", metric="sub_em", score=60.0, low=50.0, high=64.0),
        one_cell(task="b", metric="f1", score=10.0, low=0.0, high=20.0),
    ]
    (grid,) = grids(cells)
    mean = grid.average(MEMORY, Length(4096))
    assert mean is not None
    assert (mean.task, mean.score, mean.samples, mean.failed) == ("average", 70.0, 200, 1)
    assert mean.low == pytest.approx(70 - sqrt(10**2 + 10**2) / 2)
    assert mean.high == pytest.approx(70 + sqrt(10**2 + 4**2) / 2)


def test_there_is_no_average_where_a_task_is_missing() -> None:
    (grid,) = grids([one_cell(task="a"), one_cell(task="b"), one_cell(task="a", length=8192)])
    assert grid.average(MEMORY, Length(8192)) is None
    assert [row.cells[1] for row in grid.rows() if row.task == "average"] == [None]


def test_rows_go_by_task_reader_and_metric() -> None:
    cells = [
        one_cell(task=task, reader=reader, metric=metric)
        for task in ("qa_1", "vt")
        for reader in ("direct", "memory")
        for metric in (("sub_em", "f1") if task == "qa_1" else ("string_match_all",))
    ]
    (grid,) = grids(cells)
    assert [(row.task, row.reader, row.metric, row.first) for row in grid.rows()] == [
        ("vt", "memory", "string_match_all", True),
        ("vt", "direct", "string_match_all", True),
        ("qa_1", "memory", "sub_em", True),
        ("qa_1", "memory", "f1", False),
        ("qa_1", "direct", "sub_em", True),
        ("qa_1", "direct", "f1", False),
        ("average", "memory", "", True),
        ("average", "direct", "", True),
    ]


def test_one_grid_for_each_unit_of_length() -> None:
    cells = make_cells(make_results(["hqa"], [*paragraphs(100, 50), *tokens(65536, 4096)], samples=3))
    assert [[str(length) for length in grid.lengths] for grid in grids(cells)] == [["4k", "64k"], ["50p", "100p"]]


def test_several_models_are_named() -> None:
    (grid,) = grids([one_cell(model="a"), one_cell(model="b")])
    assert [row.reader for row in grid.rows()] == ["memory · a", "memory · b"]


def test_the_caption_tells_examples_and_metrics() -> None:
    alike = grids([one_cell(task="vt"), one_cell(task="cwe"), one_cell(task="qa_1", metric="sub_em")])[0]
    assert caption(alike) == "Score and 95 % interval, 100 examples each, by string_match_all; for qa_1: sub_em."
    mixed = grids([one_cell(samples=20), one_cell(length=8192)])[0]
    assert caption(mixed) == "Score and 95 % interval, 20 to 100 examples each, by string_match_all."


def test_tasks_stand_as_in_ruler_then_hqa_then_others_as_they_come() -> None:
    assert tasks_in_order(["zoo", *sorted([*RULER, "hqa"]), "ant", "vt"]) == [*RULER, "hqa", "zoo", "ant"]


def test_readers_stand_ours_first_and_models_as_they_come() -> None:
    readers = [(reader, "m") for reader in ("retrieve", "truncate", "direct", "memory", "truncate")]
    assert readers_in_order([*readers, ("memory", "b")]) == [("memory", "m"), ("memory", "b"), ("direct", "m"),
                                                             ("truncate", "m"), ("retrieve", "m")]  # fmt: skip


def test_totals_add_up_each_reader() -> None:
    results = make_results(["niah_single_1"], tokens(4096), ["direct", "memory"], samples=4)
    results = [replace(result, status="done", attempts=1) for result in results]
    results[4] = replace(results[4], status="failed", attempts=3)
    results[5] = replace(results[5], attempts=2)
    results[0] = replace(results[0], status="overflow")
    memory, direct = totals(results)
    assert (memory.reader, direct.reader) == (("memory", "smollm2-360m"), ("direct", "smollm2-360m"))
    assert (memory.examples, memory.failed, memory.failed_attempts) == (4, 1, 4)
    assert (direct.overflow, direct.failed, direct.failed_attempts) == (1, 0, 0)
    assert memory.prompt_tokens == sum(result.prompt_tokens for result in results[4:])
    assert direct.model_seconds == pytest.approx(sum(result.model_seconds for result in results[:4]))


@pytest.mark.parametrize("width", [60, 100, 160])
def test_a_terminal_of_any_width_gets_all_lengths(width: int) -> None:
    lengths = tokens(*(8192 * 2**power for power in range(7)))
    results = make_results(["niah_single_1", "qa_1"], lengths, READERS, samples=10)
    text = printed(make_cells(results), results, width, terminal=True)
    assert max(map(len, text.splitlines())) <= width
    names = {str(length) for length in lengths}
    heads = [word for line in text.splitlines() if names.issuperset(line.split()) for word in line.split()]
    assert heads == ["8k", "16k", "32k", "64k", "128k", "256k", "512k"]
    assert text.count("string_match_part") == 1
    assert text.count("    f1 ") == 4 * text.count("\nqa_1")


def test_where_there_is_no_terminal_the_table_is_one_and_plain() -> None:
    lengths = tokens(*(8192 * 2**power for power in range(7)))
    results = make_results(["niah_single_1"], lengths, ["memory", "direct"], samples=10)
    text = printed(make_cells(results), results, 60, terminal=False)
    (head,) = [line for line in text.splitlines() if line.split()[:1] == ["8k"]]
    assert head.split() == ["8k", "16k", "32k", "64k", "128k", "256k", "512k"]
    (direct,) = [line for line in text.splitlines() if line.startswith("  direct")]
    assert direct.split()[-4:] == ["overflow"] * 4
    assert "\x1b" not in text


def test_one_reader_needs_no_line_of_its_own() -> None:
    results = make_results(["vt", "cwe"], tokens(4096), samples=5)
    lines = printed(make_cells(results), results, 100, terminal=True).splitlines()
    assert [line.split()[0] for line in lines if "[" in line] == ["vt", "cwe", "average"]


def test_costs_are_a_line_for_each_reader() -> None:
    (result,) = make_results(["vt"], tokens(4096), samples=1)
    result = replace(result, status="done", attempts=2, prompt_tokens=12345, completion_tokens=678, turns=3,
                     model_seconds=200.0, seconds=7500.0)  # fmt: skip
    assert printed(make_cells([result]), [result], 200, terminal=True).splitlines()[-1] == (
        "memory: 12,345 tokens read, 678 written, 3 calls; 3 min 20 s of model time, summed over examples read at the "
        "same time; 1 failed attempt"
    )


def test_names_are_not_read_as_markup() -> None:
    assert "[bold]mine" in printed([one_cell(task="[bold]mine")], [], 100, terminal=True)


def test_no_cells_print_nothing() -> None:
    assert printed([], [], 60, terminal=True) == ""


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.44, "0.4 s"), (12.4, "12 s"), (59.6, "1 min 0 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words
