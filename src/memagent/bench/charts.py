"""The charts of a benchmark run: accuracy, heat map, time, depth, causes.

`see` reads the results once. Each other function draws one chart, or returns None if there is nothing to draw.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from math import ceil, inf, log2, nan
from statistics import correlation, linear_regression
from typing import TYPE_CHECKING

from memagent.bench import published
from memagent.bench.costs import Reader, readers_in_order
from memagent.bench.drawing import LOOKS, SOFT, Map, blank, histogram, legend_line, side_by_side, stacked_bars, style
from memagent.bench.results import Cell, Result
from memagent.bench.table import UNITS, grids, named
from memagent.tasks.example import Length

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Tol's colours, safe for the colour-blind.
_CAUSES = {"never written": "#ddaa33", "lost": "#bb5566", "not answered": "#4477aa", "failed": "#9a958c"}
_FEW = 60  # with fewer points than this, points are drawn larger
_DRAWN = 300  # maximum number of points per reader in the chart of times; the fit uses all of them
_TENTHS = 10


@dataclass
class Seen:
    """The parts of one reader's examples that the charts need."""

    times: list[tuple[int, float]] = field(default_factory=list)
    """Tokens and model seconds of each example that was read."""
    facts: Counter[tuple[Length, int]] = field(default_factory=Counter)
    """Number of facts, by length and tenth of the document."""
    answered: dict[tuple[Length, int], float] = field(default_factory=dict)
    lost_at: Counter[int] = field(default_factory=Counter)


def see(results: Iterable[Result]) -> dict[Reader, Seen]:
    """Read the results once. Skips examples that failed or overflowed: they say nothing about time or depth."""
    found: dict[Reader, Seen] = {}
    for result in results:
        seen = found.setdefault((result.reader, result.model), Seen())
        if result.status != "done":
            continue
        seen.times.append((result.tokens, result.model_seconds))
        # Facts that are spread over the whole document (cwe, fwe) have no depth.
        facts = [(fact.depth, float(fact.state == "answered")) for fact in result.facts if result.depths]
        # If facts were not tracked, the score still says whether a single fact was answered.
        if not facts and len(result.depths) == 1:
            facts = [(result.depths[0], next(iter(result.scores.values())))]
        for depth, answered in facts:
            place = Length(result.length, result.unit), min(int(depth * _TENTHS), _TENTHS - 1)
            seen.facts[place] += 1
            seen.answered[place] = seen.answered.get(place, 0.0) + answered
        seen.lost_at.update(fact.lost_at for fact in result.facts if fact.lost_at is not None)
    return {reader: found[reader] for reader in readers_in_order(found)}


def accuracy(cells: Sequence[Cell]) -> Figure | None:
    """Draw score over length with 95 % intervals: the average of the tasks, and each task by itself."""
    panels: dict[str, dict[Reader, list[Cell]]] = {}
    for grid in grids(cells):
        average = f"average of {len(grid.tasks)} tasks" + (" by paragraphs" if grid.unit == "paragraphs" else "")
        for task in (None, *grid.tasks) if len(grid.tasks) > 1 else grid.tasks:
            title = task or average
            for reader in grid.readers:
                of = [grid.cell(task, reader, x) if task else grid.average(reader, x) for x in grid.lengths]
                if points := [cell for cell in of if cell]:
                    panels.setdefault(title, {}).setdefault(reader, []).extend(points)
    if not panels:
        return None
    looks = _looks(reader for readers in panels.values() for reader in readers)
    wide = [title for title in panels if title.startswith("average of ") or title == "hqa" or len(panels) == 1]
    narrow = [title for title in panels if title not in wide]
    heights = [2.7] * len(wide) + [1.9] * ceil(len(narrow) / 3)  # inches
    with style():
        figure = blank(0.6 + sum(heights))
        places = figure.add_gridspec(len(heights), 3, height_ratios=heights)
        across = [places[row, :] for row in range(len(wide))]
        thirds = [places[len(wide) + index // 3, index % 3] for index in range(len(narrow))]
        for title, place in zip(wide + narrow, across + thirds, strict=True):
            _accuracy(figure.add_subplot(place), title, panels[title], looks)
        handles = [
            legend_line(named(x, looks), colour, marker=mark, markersize=4) for x, (colour, mark) in looks.items()
        ]
        if any(cell.overflow == cell.samples for cell in cells):
            handles.append(legend_line("overflows the window", SOFT, marker="x", linestyle=""))
        if published.RULER_TASKS & panels.keys():
            claim = f"the paper: ten tasks average above {published.RULER_AVERAGE:.0f} %"
            handles.append(legend_line(claim, SOFT, linestyle="--", linewidth=1))
        letters = sum(7 + len(str(handle.get_label())) for handle in handles)
        figure.legend(handles=handles, loc="outside upper left", ncols=len(handles) if letters < 130 else 2)
    return figure


def _accuracy(
    axes: Axes, title: str, readers: Mapping[Reader, list[Cell]], looks: Mapping[Reader, tuple[str, str]]
) -> None:
    sizes = [_tokens(cell) for points in readers.values() for cell in points]
    low, high = min(sizes) / 1.3, max(sizes) * 1.3
    powers = [2**power for power in range(31) if low <= 2**power <= high]
    ticks = powers[:: ceil(len(powers) / 8)] if len(powers) > 1 else sorted(set(sizes))
    axes.set_xscale("log", base=2)
    axes.set_xlim(low, high)
    axes.set_xticks(ticks, [_size(tick) for tick in ticks])
    axes.set(title=title, ylim=(-4, 104), yticks=(0, 25, 50, 75, 100))
    axes.grid(axis="y")
    if title in published.RULER_TASKS:
        ends = [min(max(end, low), high) for end in published.RULER_RANGE]
        axes.plot(ends, [published.RULER_AVERAGE] * 2, "--", color=SOFT, linewidth=1)
    if title == "hqa":
        _published(axes, low, high)
    spread = 0.015 if high > 2 * low else 0.05  # shifts readers sideways so that intervals do not hide each other
    for index, (reader, points) in enumerate(readers.items()):
        colour, marker = looks[reader]
        aside = (high / low) ** (spread * (index - (len(readers) - 1) / 2))
        fits = sorted((cell for cell in points if cell.overflow < cell.samples), key=_tokens)
        axes.errorbar(
            [_tokens(cell) * aside for cell in fits],
            [cell.score for cell in fits],
            yerr=[[max(0, cell.score - cell.low) for cell in fits], [max(0, cell.high - cell.score) for cell in fits]],
            color=colour, marker=marker, markersize=4, linewidth=1.5, elinewidth=0.9, capsize=1.5,
        )  # fmt: skip
        over = [_tokens(cell) * aside for cell in points if cell.overflow == cell.samples]
        axes.plot(over, [0.0] * len(over), "x", color=colour, markersize=5)


def _published(axes: Axes, low: float, high: float) -> None:
    """Draw the paper's results as grey lines, each named at its right end, with the names pushed apart."""
    ends = []
    for name, row in published.RULER_HQA.items():
        points = [(x, y) for x, y in zip(published.TOKENS, row, strict=True) if y is not None and low <= x <= high]
        if points:
            axes.plot(*zip(*points, strict=True), color="#a8a297", linewidth=1, marker=".", markersize=3)
            ends.append((points[-1][1], name))
    if ends:
        axes.set_title("hqa (grey: reported by the paper)")
    at = -100.0
    for y, name in sorted(ends):
        at = max(y, at + 6.5)
        axes.annotate(name, (1.01, at), xycoords=axes.get_yaxis_transform(), va="center", color=SOFT, fontsize=7.5)


def heatmap(cells: Sequence[Cell]) -> Figure | None:
    """Draw a map of tasks × lengths for each reader, hatched where every prompt overflowed the window."""
    found = grids(cells)
    if sum(len(grid.tasks) * len(grid.lengths) for grid in found) < 2:
        return None
    maps = []
    for grid in found:
        for reader in grid.readers:
            values = [[_percent(grid.cell(task, reader, length)) for length in grid.lengths] for task in grid.tasks]
            maps.append(Map(named(reader, grid.readers), list(map(str, grid.lengths)), list(grid.tasks), values))
    return side_by_side(maps)


def _percent(cell: Cell | None) -> float:
    """Return the score; infinity if every prompt overflowed, NaN if there is no cell."""
    if cell is None:
        return nan
    return inf if cell.overflow == cell.samples else cell.score


def time(seen: Mapping[Reader, Seen]) -> Figure | None:
    """Draw model seconds over tokens: a point for each example, and a least-squares line for each reader."""
    fits = {reader: fit for reader, each in seen.items() if (fit := linear_fit(each.times))}
    if not fits:
        return None
    looks = _looks(seen)
    with style():
        figure = blank(3.6)
        axes = figure.add_subplot()
        longest = max(tokens for reader in fits for tokens, _ in seen[reader].times)
        for reader, (slope, intercept, squared) in fits.items():
            times, (colour, marker) = seen[reader].times, looks[reader]
            drawn = zip(*times[:: ceil(len(times) / _DRAWN)], strict=True)
            size, alpha = (6, 0.8) if len(times) < _FEW else (3, 0.35)
            axes.plot(*drawn, marker, color=colour, markersize=size, alpha=alpha, markeredgewidth=0)
            ends = min(times)[0], max(times)[0]
            name = f"{named(reader, looks)}: {slope * 1024:z.3f} s per 1K tokens, R² {squared:.3f}"
            axes.plot(ends, [intercept + slope * end for end in ends], color=colour, linewidth=1.5, label=name)
        right = longest * 1.03
        axes.set(xlabel="tokens of the example", ylabel="seconds in the model", xlim=(0, right), ylim=(0, None))
        ticks = range(0, int(right) + 1, 2 ** max(0, ceil(log2(longest / 8))))
        axes.set_xticks(ticks, [_size(tick) for tick in ticks])
        axes.grid()
        axes.legend(loc="upper left")
    return figure


def linear_fit(times: Sequence[tuple[int, float]]) -> tuple[float, float, float] | None:
    """Return slope (seconds per token), intercept (seconds) and R²; None if lengths or seconds hardly differ."""
    tokens, seconds = [float(size) for size, _ in times], [each for _, each in times]
    if not times or max(tokens) < 1.5 * min(tokens) or max(seconds) == min(seconds):
        return None
    slope, intercept = linear_regression(tokens, seconds)
    return slope, intercept, correlation(tokens, seconds) ** 2


def depth(seen: Mapping[Reader, Seen]) -> Figure | None:
    """Draw the share of facts answered, by place in the document and by length, as a map for each reader."""
    tenths = [f"{100 * k // _TENTHS}–{100 * (k + 1) // _TENTHS} %" for k in range(_TENTHS)]
    maps = []
    for unit in UNITS:
        lengths = sorted({length for each in seen.values() for length, _ in each.facts if length.unit == unit})
        for reader, each in seen.items():
            number = sum(count for (length, _), count in each.facts.items() if length.unit == unit)
            values = [
                [100 * each.answered[x, y] / each.facts[x, y] if each.facts[x, y] else nan for x in lengths]
                for y in range(_TENTHS)
            ]
            if number:
                title = f"{named(reader, seen)}: {number:,} facts"
                maps.append(Map(title, list(map(str, lengths)), tenths, values))
    return side_by_side(maps) if maps else None


def causes(cells: Sequence[Cell], seen: Mapping[Reader, Seen]) -> Figure | None:
    """Draw the memory reader's faults in percent of its examples by length, and the steps at which facts were lost."""
    firsts = [cell for grid in grids(cells) for cell in grid.cells.values() if cell.metric == grid.tasks[cell.task][0]]
    tracked = [cell for cell in firsts if cell.causes or _all_right(cell)]
    readers = list(dict.fromkeys((cell.reader, cell.model) for cell in tracked if cell.causes))
    if not readers:
        return None
    with style():
        figure = blank(0.4 + 2.5 * len(readers))
        places = figure.add_gridspec(len(readers), 2, width_ratios=[3, 2])
        for row, reader in enumerate(readers):
            lost_at = seen[reader].lost_at
            mine = [cell for cell in tracked if (cell.reader, cell.model) == reader]
            _causes(figure.add_subplot(places[row, 0] if lost_at else places[row, :]), mine, named(reader, readers))
            if lost_at:
                axes = figure.add_subplot(places[row, 1])
                axes.set(title="when facts were lost", xlabel="step", ylabel="facts")
                histogram(axes, lost_at, _CAUSES["lost"])
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=len(_CAUSES))
    return figure


def _all_right(cell: Cell) -> bool:
    """Whether all examples that were read scored 1. If so, missing causes do not mean that facts were not tracked."""
    return cell.score >= 100 * (cell.samples - cell.failed - cell.overflow) / cell.samples - 0.01


def _causes(axes: Axes, cells: Sequence[Cell], title: str) -> None:
    lengths = sorted({Length(c.length, c.unit) for c in cells}, key=lambda x: (UNITS.index(x.unit), x.value))
    shares: dict[str, list[float]] = {cause: [] for cause in _CAUSES}
    for length in lengths:
        alike = [cell for cell in cells if (cell.length, cell.unit) == (length.value, length.unit)]
        counts = sum((Counter(cell.causes | {"failed": cell.failed}) for cell in alike), Counter[str]())
        for cause, percents in shares.items():
            percents.append(100 * counts[cause] / sum(cell.samples for cell in alike))
    axes.set(title=f"{title}: examples gone wrong", ylabel="% of examples")
    stacked_bars(axes, [str(length) for length in lengths], shares, _CAUSES)


def _tokens(cell: Cell) -> float:
    """Return the position of a cell on an axis of tokens."""
    return cell.length if cell.unit == "tokens" else max(cell.tokens, 1.0)


def _size(tokens: float) -> str:
    return str(Length(round(tokens))).upper() if tokens else "0"


def _looks(readers: Iterable[Reader]) -> dict[Reader, tuple[str, str]]:
    """Return the colour and marker of each reader."""
    return dict(zip(readers_in_order(readers), cycle(LOOKS), strict=False))
