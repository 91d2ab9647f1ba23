"""The chart of score over cost: seconds, tokens and money, with a point for each reader and length."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import TYPE_CHECKING

from memagent.bench.costs import Reader, readers_in_order
from memagent.bench.drawing import LOOKS, blank, legend_line, style
from memagent.bench.results import Cell, Result
from memagent.bench.table import Grid, grids, named
from memagent.core.limits import Price
from memagent.core.records import Usage
from memagent.tasks.example import Length

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(slots=True)
class Spent:
    """What a reader spent on the examples of one length that it read."""

    examples: int = 0
    seconds: float = 0.0
    usage: Usage = field(default_factory=Usage)


@dataclass(frozen=True, slots=True)
class Point:
    """A reader at one length: its cell, and the mean cost of an example."""

    cell: Cell
    length: Length
    costs: Mapping[str, float]


def tradeoff(cells: Sequence[Cell], results: Iterable[Result], price: Price | None = None) -> Figure | None:
    """Draw score over mean seconds, tokens and, with a price, money of an example. None for fewer than two readers."""
    spent: dict[tuple[Reader, Length], Spent] = defaultdict(Spent)
    for result in results:
        if result.status == "done":
            each = spent[(result.reader, result.model), Length(result.length, result.unit)]
            each.examples += 1
            each.seconds += result.seconds
            each.usage += Usage(result.prompt_tokens, result.completion_tokens)
    rows = [(grid, points) for grid in grids(cells) if len(points := _points(grid, spent, price)) > 1]
    if not rows:
        return None
    looks = dict(zip(readers_in_order(reader for _, points in rows for reader in points), cycle(LOOKS), strict=False))
    names = ["seconds", "tokens", *(["money"] if price else [])]
    with style():
        figure = blank(0.5 + 2.9 * len(rows))
        axes = figure.subplots(len(rows), len(names), squeeze=False, sharey=True)
        for (grid, points), line in zip(rows, axes, strict=True):
            for name, place in zip(names, line, strict=True):
                _draw(place, name, points, looks)
            line[0].set_ylabel(_scores(grid))
        handles = [
            legend_line(named(reader, looks), colour, marker=mark, markersize=4)
            for reader, (colour, mark) in looks.items()
        ]
        figure.legend(handles=handles, loc="outside upper left", ncols=min(len(handles), 6))
    return figure


def _points(grid: Grid, spent: Mapping[tuple[Reader, Length], Spent], price: Price | None) -> dict[Reader, list[Point]]:
    found: dict[Reader, list[Point]] = {}
    for reader in grid.readers:
        for length in grid.lengths:
            cell = grid.average(reader, length)
            each = spent.get((reader, length))
            if cell and each:
                costs = {"seconds": each.seconds, "tokens": float(each.usage.total_tokens)}
                costs |= {"money": price.of(each.usage)} if price else {}
                mean = {name: value / each.examples for name, value in costs.items()}
                found.setdefault(reader, []).append(Point(cell, length, mean))
    return found


def _draw(axes: Axes, name: str, points: Mapping[Reader, list[Point]], looks: Mapping[Reader, tuple[str, str]]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=6))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set(xlabel=f"{name} an example", ylim=(-4, 104), yticks=(0, 25, 50, 75, 100))
    axes.grid(axis="y")
    for reader, each in points.items():
        colour, mark = looks[reader]
        paid = [point for point in each if point.costs[name] > 0]  # a logarithmic axis has no 0
        axes.errorbar(
            [point.costs[name] for point in paid],
            [point.cell.score for point in paid],
            yerr=[
                [max(0, point.cell.score - point.cell.low) for point in paid],
                [max(0, point.cell.high - point.cell.score) for point in paid],
            ],
            color=colour, marker=mark, markersize=4, linewidth=1, elinewidth=0.8, capsize=1.5,
        )  # fmt: skip
        for point in paid:
            axes.annotate(
                str(point.length), (point.costs[name], point.cell.score), (3, 3), textcoords="offset points",
                color=colour, fontsize=7,
            )  # fmt: skip


def _scores(grid: Grid) -> str:
    return f"score, {len(grid.tasks)} tasks" if len(grid.tasks) > 1 else f"score, {next(iter(grid.tasks))}"
