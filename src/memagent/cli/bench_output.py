"""Prints the output of `bench compare`."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from memagent.bench.compare import ALL, Difference
from memagent.tasks.example import Length


def render_differences(differences: Sequence[Difference], console: Console) -> None:
    """Print a line for each task, length and reader: scores and difference, in bold if the interval excludes 0."""
    if not console.is_terminal:
        console.width = 160
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("task", "length", "reader"):
        table.add_column(name, overflow="fold")
    for name in ("A", "B", "B - A [95 %]", "pairs"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in differences:
        table.add_row(
            each.task,
            "" if each.task == ALL else str(Length(each.length, each.unit)),
            each.compared,
            f"{each.a:.1f}",
            f"{each.b:.1f}",
            Text(f"{each.difference:+.1f} [{each.low:+.1f}, {each.high:+.1f}]"),
            ", ".join([f"{each.pairs:,}", *_notes(each)]),
            style="bold" if each.low > 0 or each.high < 0 else "",
        )
    console.print(table)


def _notes(each: Difference) -> list[str]:
    notes = ((each.failed, "not read"), (each.unpaired, "unpaired"))
    return [f"{number:,} {what}" for number, what in notes if number]
