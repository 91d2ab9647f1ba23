"""Writes a benchmark run as one HTML page, with its charts as PNGs beside it.

The page needs no other files (its policy forbids network access), and everything from outside is escaped. The same
results give the same bytes. Without matplotlib the page has only the tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from inspect import getdoc
from itertools import groupby
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from memagent.bench import charts, drawing, published
from memagent.bench.compare import ALL
from memagent.bench.costs import Totals, totals
from memagent.bench.examples import failures, pick, worst
from memagent.bench.methods import MEMORY
from memagent.bench.results import Cell, Result
from memagent.bench.side_by_side import Contest, contests
from memagent.bench.table import AVERAGE, Grid, caption, grids, named, shown
from memagent.bench.tradeoff import tradeoff
from memagent.core.limits import Price
from memagent.core.scoring import METRICS
from memagent.disk import write_whole
from memagent.errors import StorageError
from memagent.evidence.page import duration
from memagent.tasks.example import Length

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Results = Callable[[], Iterable[Result]]
"""Function that reads the results from the beginning each time it is called."""

CHARTS = {
    "accuracy": "Score over length, with 95 % intervals; × where every prompt overflows the window. The paper reports "
    "an average above 95 % on ten RULER tasks from 8K to 512K (dashed), and the grey lines on RULER-HotpotQA.",
    "tradeoff": "Score over the mean wall time, tokens and (with <code>--price</code>) money of an example, with one "
    "point for each reader and length. The best points are at the top left. If several examples were read at once, the "
    "time of each includes waiting for the others: compare times from a run with <code>--concurrency 1</code>.",
    "heatmap": "Score by task and length, a map for each reader; hatched where every prompt overflows the window.",
    "time": "Seconds in the model over the tokens of an example, with the least-squares line of each reader. "
    "1K tokens are 1,024. If several examples were read at once, the seconds of each include waiting for the others: "
    "take the line from a run with <code>--concurrency 1</code>.",
    "depth": "Percent of facts answered, by their place in the document (from its beginning down to its end) and its "
    "length. For the memory reader all facts count; for other readers, those of examples that rest on a single fact.",
    "causes": "Examples of the memory reader that scored below 1, each by its earliest fault: a fact was never "
    "written to the memory; it was written and later lost; it was held but not answered; or the model "
    "failed on the example. On the right, the steps after which facts were gone.",
}
"""Captions of the charts in the page, as HTML, by the names of the PNGs."""


def write_report(
    folder: Path, cells: Sequence[Cell], results: Results, header: Mapping[str, Any], price: Price | None = None
) -> None:
    """Write `report.html` and a PNG for each chart that has data. Removes the PNGs of other charts.

    Args:
        header: settings of the run, shown as a table.
        price: prices for the chart of score over cost; None to leave money out.

    Raises:
        StorageError: the folder cannot be written.
    """
    figures = _figures(cells, results, price) if drawing.available() else {}
    page = _page(cells, results, header, figures).encode("utf-8", "backslashreplace")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in CHARTS:
            path = folder / f"{name}.png"
            if name in figures:
                write_whole(path, drawing.png(figures[name]))
            else:
                path.unlink(missing_ok=True)
        write_whole(folder / "report.html", page)
    except OSError as error:
        reason = error.strerror or error
        raise StorageError(
            f"The report in {folder} cannot be written ({reason}): make room, then try again."
        ) from error


def _figures(cells: Sequence[Cell], results: Results, price: Price | None) -> dict[str, Figure]:
    seen = charts.see(results())
    drawn = {
        "accuracy": charts.accuracy(cells),
        "tradeoff": tradeoff(cells, results(), price),
        "heatmap": charts.heatmap(cells),
        "time": charts.time(seen),
        "depth": charts.depth(seen),
        "causes": charts.causes(cells, seen),
    }
    return {name: figure for name, figure in drawn.items() if figure is not None}


def _page(cells: Sequence[Cell], results: Results, header: Mapping[str, Any], figures: Mapping[str, Figure]) -> str:
    found, costs = grids(cells), totals(results())
    picked = pick(results())
    template = Template(files("memagent.bench").joinpath("report.html").read_text(encoding="utf-8"))
    return template.substitute(
        title=_title(found),
        figures=_summary(found, costs),
        scores="\n".join(_scores(grid) for grid in found) or '<p class="note">There are no results yet.</p>',
        contests=_contests(contests(results())),
        charts=_charts(figures, any("hqa" in grid.tasks for grid in found)),
        costs=_costs(costs),
        worst=worst(picked)
        if any(cost.reader[0] in MEMORY for cost in costs)
        else '<p class="note">The memory reader was not among the readers.</p>',
        failures=failures(picked),
        metrics=_metrics(found),
        header=_header(header),
    )


def _title(found: Sequence[Grid]) -> str:
    models = dict.fromkeys(model for grid in found for _, model in grid.readers)
    tasks = dict.fromkeys(task for grid in found for task in grid.tasks)
    number = f"{len(tasks)} tasks" if len(tasks) != 1 else next(iter(tasks))
    return escape(f"{', '.join(models)} on {number}") if found else "No results yet"


def _summary(found: Sequence[Grid], costs: Sequence[Totals]) -> str:
    lengths = ", ".join("–".join(dict.fromkeys(map(str, (grid.lengths[0], grid.lengths[-1])))) for grid in found)
    pairs = [
        (f"{sum(cost.examples for cost in costs):,}", "examples"),
        (f"{sum(cost.failed for cost in costs):,}", "failed"),
        (lengths or "0", "long"),
        (f"{sum(cost.prompt_tokens for cost in costs):,}", "tokens read"),
        (f"{sum(cost.completion_tokens for cost in costs):,}", "tokens written"),
        (duration(sum(cost.model_seconds for cost in costs)), "of model time"),
    ]
    return f'<dl class="figures">{"".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for value, name in pairs)}</dl>'


def _scores(grid: Grid) -> str:
    heads = "".join(f'<th scope="col">{length}</th>' for length in grid.lengths)
    bodies: list[str] = []
    for task, rows in groupby(grid.rows(), lambda row: row.task):
        lines = []
        for number, row in enumerate(group := list(rows)):
            first = f'<th scope="rowgroup" rowspan="{len(group)}">{escape(task)}</th>' if number == 0 else ""
            name = f'<th scope="row">{escape(row.reader if row.first else row.metric)}</th>'
            values = "".join(_cell(cell, row.first) for cell in row.cells)
            lines.append(f'<tr class="{"first" if row.first else "other"}">{first}{name}{values}</tr>')
        bodies.insert(0 if task == AVERAGE else len(bodies), f"<tbody>{''.join(lines)}</tbody>")
    head = f'<thead><tr><th scope="col">task</th><th scope="col" class="left">reader</th>{heads}</tr></thead>'
    return f'<p class="note">{escape(caption(grid))}</p>\n{_table(head + "".join(bodies))}'


def _cell(cell: Cell | None, first: bool) -> str:
    score, interval, note = shown(cell)
    if cell is None:
        return f"<td>{score}</td>"
    if not interval:
        return f'<td class="over">{score}</td>'
    if not first:
        return f'<td title="{interval}">{score}</td>'
    left_out = f'<span class="left-out">{note}</span>' if note else ""
    return f'<td class="score" style="--score: {cell.score:.0f}">{score}<span>{interval[1:-1]}</span>{left_out}</td>'


def _contests(found: Sequence[Contest]) -> str:
    if not found:
        return '<p class="note">There was only one reader.</p>'
    rows = []
    for each in found:
        line = each.difference
        place = "everything" if line.task == ALL else f"{line.task} {Length(line.length, line.unit)}"
        values = (
            f"{line.a:.1f}", f"{line.b:.1f}", f"{line.difference:+.1f}<span>{line.low:+.1f} to {line.high:+.1f}</span>",
            f"{line.pairs:,}",
            "–" if each.times_as_fast is None else f"{each.times_as_fast:.2f} ×",
            "–" if each.share_of_tokens is None else f"{each.share_of_tokens:.0%}",
        )  # fmt: skip
        name = named(each.reader, [contest.reader for contest in found])
        cells = "".join(f"<td>{value}</td>" for value in values)
        rows.append(f'<tr><th scope="row">{escape(name)}</th><td class="left">{escape(place)}</td>{cells}</tr>')
    names = ("first reader", "this reader", "difference", "examples", "as fast", "tokens")
    heads = "".join(f'<th scope="col">{name}</th>' for name in names)
    head = f'<thead><tr><th scope="col">reader</th><th scope="col" class="left">on</th>{heads}</tr></thead>'
    return _table(f"{head}<tbody>{''.join(rows)}</tbody>")


def _table(rows: str, names: str = "") -> str:
    return f'<div class="wide"><table{names}>{rows}</table></div>'


def _charts(figures: Mapping[str, Figure], hqa: bool) -> str:
    if not drawing.available():
        return (
            '<p class="note">There are no charts because matplotlib is not installed. Run <code>pip install '
            "'memagent[plots]'</code>, then make the report again.</p>"
        )
    parts = []
    for name, figure in figures.items():
        picture = drawing.svg(figure, name).replace("<svg ", f'<svg role="img" aria-label="{name}" ', 1)
        parts.append(f"<figure><figcaption>{CHARTS[name]}</figcaption>{picture}</figure>")
        if name == "accuracy" and hqa:
            parts.append(_published())
    return "\n".join(parts) or '<p class="note">There is nothing to draw yet.</p>'


def _published() -> str:
    heads = "".join(f'<th scope="col">{number:,}</th>' for number in published.PARAGRAPHS)
    rows = []
    for version, lines in (("1", published.RULER_HQA), ("2", published.RULER_HQA_REVISED)):
        for name, scores in lines.items():
            values = "".join(f"<td>{'–' if score is None else f'{score:.2f}'}</td>" for score in scores)
            rows.append(f'<tr><th scope="row">{name}, version {version}</th>{values}</tr>')
    return (
        '<p class="note">RULER-HotpotQA in the paper (arXiv 2507.02259), by number of paragraphs. The paper leaves '
        "failed requests out of the mean and matches leniently, so compare with <code>sub_em_legacy</code>.</p>"
        + _table(f'<thead><tr><th scope="col">model</th>{heads}</tr></thead><tbody>{"".join(rows)}</tbody>')
    )


def _costs(costs: Sequence[Totals]) -> str:
    names = ("reader", "examples", "failed", "overflow", "calls", "failed attempts", "tokens read", "tokens written",
             "model time", "wall time")  # fmt: skip
    rows = []
    for cost in costs:
        numbers = (cost.examples, cost.failed, cost.overflow, cost.turns, cost.failed_attempts, cost.prompt_tokens,
                   cost.completion_tokens)  # fmt: skip
        values = [f"{number:,}" for number in numbers] + [duration(cost.model_seconds), duration(cost.seconds)]
        name = escape(named(cost.reader, [each.reader for each in costs]))
        rows.append(f'<tr><th scope="row">{name}</th>{"".join(f"<td>{value}</td>" for value in values)}</tr>')
    heads = "".join(f'<th scope="col">{name}</th>' for name in names)
    return _table(f"<thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody>")


def _metrics(found: Sequence[Grid]) -> str:
    names = dict.fromkeys(metric for grid in found for metrics in grid.tasks.values() for metric in metrics)
    items = []
    for name in names:
        meaning = (getdoc(METRICS[name]) or "").split("\n\n")[0] if name in METRICS else ""
        items.append(f"<dt>{escape(name)}</dt><dd>{escape(' '.join(meaning.split()))}</dd>")
    return f'<dl class="metrics">{"".join(items)}</dl>'


def _header(header: Mapping[str, Any]) -> str:
    rows = (
        f'<tr><th scope="row">{escape(str(key))}</th><td>{escape(_plain(value))}</td></tr>'
        for key, value in header.items()
    )
    return _table(f"<tbody>{''.join(rows)}</tbody>", ' class="facts"')


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(each)}" for key, each in value.items()) or "–"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_plain, value)) or "–"
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
