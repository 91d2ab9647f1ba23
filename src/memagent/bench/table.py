"""The scores as a table, with tasks × readers down and lengths across, and the cost of each reader.

    Score and 95 % interval, 100 examples each.
                             4k                16k
    niah_single_1
      memory   97.0 [91.5–99.0]   93.0 [86.3–96.6]
      direct   98.0 [93.0–99.4]           overflow

`grids` and `Grid.rows` lay the table out. The terminal, the HTML page and the charts all draw from them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil, sqrt

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from memagent.bench.costs import Reader, Totals, readers_in_order
from memagent.bench.results import FAULTS, Cell
from memagent.evidence.page import duration
from memagent.tasks.catalog import RULER
from memagent.tasks.example import Length, Unit

UNITS: tuple[Unit, ...] = ("tokens", "paragraphs", "own")
AVERAGE = "average"
_TASKS = [*RULER, "hqa"]
_GAP = 3  # columns between two lengths


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table: a reader's cells on a task (or averaged over tasks), one for each length."""

    task: str
    reader: str
    metric: str
    first: bool
    """Whether the metric is the task's main metric."""
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True)
class Grid:
    """Cells whose lengths have the same unit. Metrics keep the order in which they came."""

    unit: Unit
    lengths: tuple[Length, ...]
    tasks: dict[str, tuple[str, ...]]
    """Metrics of each task, main metric first."""
    readers: list[Reader]
    cells: dict[tuple[str, Reader, Length, str], Cell]

    def cell(self, task: str, reader: Reader, length: Length) -> Cell | None:
        """Return the cell of the task's main metric."""
        return self.cells.get((task, reader, length, self.tasks[task][0]))

    def average(self, reader: Reader, length: Length) -> Cell | None:
        """Return the mean over the tasks' main metrics. None if a task is missing: means must cover the same tasks."""
        cells = [self.cell(task, reader, length) for task in self.tasks]
        present = [cell for cell in cells if cell is not None]
        return _mean(present) if len(present) == len(cells) else None

    def rows(self) -> Iterator[Row]:
        """Yield rows by task, reader and metric, and at the end the averages if there are several tasks."""
        for task, metrics in self.tasks.items():
            for reader in self.readers:
                for metric in metrics:
                    cells = tuple(self.cells.get((task, reader, length, metric)) for length in self.lengths)
                    if any(cells):
                        yield Row(task, named(reader, self.readers), metric, metric == metrics[0], cells)
        if len(self.tasks) > 1:
            for reader in self.readers:
                cells = tuple(self.average(reader, length) for length in self.lengths)
                if any(cells):
                    yield Row(AVERAGE, named(reader, self.readers), "", True, cells)

    @property
    def samples(self) -> str:
        """Number of examples per cell, such as "100 examples" or "20 to 100 examples"."""
        counts = {cell.samples for cell in self.cells.values()}
        low, high = min(counts), max(counts)
        return f"{high:,} example{'s' * (high != 1)}" if low == high else f"{low:,} to {high:,} examples"


def tasks_in_order(names: Iterable[str]) -> list[str]:
    """Return each task once: RULER's, then RULER-HQA, then others in the order given."""
    return sorted(dict.fromkeys(names), key=lambda name: _TASKS.index(name) if name in _TASKS else len(_TASKS))


def named(reader: Reader, among: Iterable[Reader]) -> str:
    """Return "memory", or "memory · MODEL" if there are several models among the readers."""
    return " · ".join(reader) if len({model for _, model in among}) > 1 else reader[0]


def grids(cells: Sequence[Cell]) -> list[Grid]:
    """Return a Grid for each unit of length among the cells."""
    return [_grid(alike) for unit in UNITS if (alike := [cell for cell in cells if cell.unit == unit])]


def _grid(cells: Sequence[Cell]) -> Grid:
    metrics: dict[str, dict[str, None]] = {}
    for cell in cells:
        metrics.setdefault(cell.task, {})[cell.metric] = None
    return Grid(
        unit=cells[0].unit,
        lengths=tuple(sorted({Length(cell.length, cell.unit) for cell in cells})),
        tasks={task: tuple(metrics[task]) for task in tasks_in_order(metrics)},
        readers=readers_in_order((cell.reader, cell.model) for cell in cells),
        cells={(c.task, (c.reader, c.model), Length(c.length, c.unit), c.metric): c for c in cells},
    )


def _mean(cells: Sequence[Cell]) -> Cell:
    """Return the average of the cells with its interval.

    Tasks are drawn independently, so their intervals combine as those of a sum: by the square root of the sum of the
    squared distances to the bounds (Zou and Donner 2008, the MOVER method).
    """
    number = len(cells)
    score = sum(cell.score for cell in cells) / number
    return replace(
        cells[0],
        task=AVERAGE,
        score=score,
        low=max(0.0, score - sqrt(sum((cell.score - cell.low) ** 2 for cell in cells)) / number),
        high=min(100.0, score + sqrt(sum((cell.high - cell.score) ** 2 for cell in cells)) / number),
        samples=sum(cell.samples for cell in cells),
        failed=sum(cell.failed for cell in cells),
        overflow=sum(cell.overflow for cell in cells),
        tokens=sum(cell.tokens for cell in cells) / number,
    )


def caption(grid: Grid) -> str:
    """Return a sentence that says how many examples a number stands for, and by which metric."""
    tasks: dict[str, list[str]] = {}
    for task, metrics in grid.tasks.items():
        tasks.setdefault(metrics[0], []).append(task)
    usual = max(tasks, key=lambda metric: len(tasks[metric]))
    others = "".join(f"; for {', '.join(names)}: {metric}" for metric, names in tasks.items() if metric != usual)
    return f"Score and 95 % interval, {grid.samples} each, by {usual}{others}."


def shown(cell: Cell | None) -> tuple[str, str, str]:
    """Return the text of a cell: score, interval, and a note on examples that were not read. Each may be empty."""
    if cell is None:
        return "–", "", ""
    if cell.overflow == cell.samples:
        return "overflow", "", ""
    if cell.failed == cell.samples:
        return "failed", "", ""
    notes = [f"{number:,} {what}" for number, what in ((cell.failed, "failed"), (cell.overflow, "overflow")) if number]
    return f"{cell.score:.1f}", f"[{cell.low:.1f}–{cell.high:.1f}]", ", ".join(notes)


def render(cells: Sequence[Cell], console: Console, costs: Sequence[Totals] = ()) -> None:
    """Print the table, the memory readers' faults, and a line of `costs` for each reader.

    The training reward (boxed) is shown only in results.json and on the page. A terminal too narrow for all lengths
    gets several tables, one below the other. If the output is not a terminal, the table is as wide as necessary.
    """
    for grid in grids(cells):
        console.print(Text(caption(grid)), highlight=False, soft_wrap=not console.is_terminal)
        for table in _tables(grid, console.width if console.is_terminal else None):
            console.print(table, crop=False, soft_wrap=True)
            console.print()
        for line in _faults(grid):
            console.print(Text(line), highlight=False, soft_wrap=not console.is_terminal)
    for cost in costs:
        name = named(cost.reader, [each.reader for each in costs])
        facts = (
            f"{name}: {cost.prompt_tokens:,} tokens read, {cost.completion_tokens:,} written, {cost.turns:,} calls; "
            f"{duration(cost.model_seconds)} of model time, summed over "
            f"examples read at the same time; "
            f"{cost.failed_attempts:,} failed attempt{'s' * (cost.failed_attempts != 1)}"
        )
        console.print(Text(facts), highlight=False, soft_wrap=not console.is_terminal)


def _faults(grid: Grid) -> Iterator[str]:
    """Yield a line for each memory reader: in how many examples it went wrong, and how."""
    for reader in grid.readers:
        cells = [cell for task in grid.tasks for length in grid.lengths if (cell := grid.cell(task, reader, length))]
        causes = sum((Counter(cell.causes) for cell in cells), Counter[str]())
        if causes:
            which = ", ".join(f"{state} {causes[state]:,}" for state in FAULTS if causes[state])
            examples = sum(cell.samples for cell in cells)
            name = named(reader, grid.readers)
            failed = sum(cell.failed for cell in cells)
            which += f"; {failed:,} more failed" if failed else ""
            yield f"{name} went wrong in {causes.total():,} of {examples:,} examples, by the earliest fault: {which}"


def _tables(grid: Grid, width: int | None) -> Iterator[Table]:
    rows = [row for row in grid.rows() if row.first or not row.metric.startswith("boxed")]
    alone = len(grid.readers) == 1  # then each task is a row, not a heading
    names = [name for row in rows for name in (row.task if alone else f"  {row.reader}", f"    {row.metric}")]
    label = max(len(name) for name in names + ([] if alone else list(grid.tasks)))
    label = min(label, width // 3) if width else label
    column = _GAP + max(len(line) for row in rows for cell in row.cells for line in _lines(cell).plain.split("\n"))
    fitting = max(1, (width - label) // column) if width else len(grid.lengths)
    each = ceil(len(grid.lengths) / ceil(len(grid.lengths) / fitting))  # as even as possible
    for start in range(0, len(grid.lengths), each):
        lengths = grid.lengths[start : start + each]
        table = Table(box=SIMPLE_HEAD, show_edge=False, padding=0, width=label + column * len(lengths))
        table.add_column("", width=label, overflow="fold")
        for length in lengths:
            table.add_column(str(length), width=column - 1, justify="right", no_wrap=True)  # the box takes one column
        _fill(table, rows, alone, slice(start, start + each))
        yield table


def _fill(table: Table, rows: Sequence[Row], alone: bool, part: slice) -> None:
    task = ""
    for row in rows:
        if row.task != task and (row.task == AVERAGE or (task and not alone)):
            table.add_row("")
        if row.task != task and not alone:
            table.add_row(Text(row.task, style="bold"))
        task = row.task
        name = (row.task if alone else f"  {row.reader}") if row.first else f"    {row.metric}"
        lines = [_lines(cell, row.first) for cell in row.cells[part]]
        table.add_row(Text(name), *lines, style="" if row.first else "dim")


def _lines(cell: Cell | None, noted: bool = True) -> Text:
    """Return a cell for the terminal: score and interval, with failures below them if `noted`."""
    score, interval, note = shown(cell)
    text = Text(score, style="" if interval else "yellow" if cell else "dim")
    text.append(f" {interval}" if interval else "", style="dim")
    for line in note.split(", ") if note and noted else ():
        text.append(f"\n{line}", style="yellow")
    return text
