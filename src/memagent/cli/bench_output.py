"""Prints comparisons of two benchmarks, and of the readers in one benchmark."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from memagent.bench.compare import ALL, Difference
from memagent.bench.side_by_side import Contest
from memagent.bench.table import named
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


def print_contests(found: Sequence[Contest], console: Console) -> None:
    """Print a line for each reader that compares it with the first reader on all examples together."""
    for each in found:
        line = each.difference
        if line.task == ALL:
            name = named(each.reader, [contest.reader for contest in found])
            said = (
                f"{line.compared.split(' → ')[0]} → {name}: {line.difference:+.1f} points [{line.low:+.1f}, "
                f"{line.high:+.1f}] on {line.pairs:,} examples"
            )
            if each.times_as_fast is not None and each.share_of_tokens is not None:
                said += f", {each.times_as_fast:.2f} times as fast, {each.share_of_tokens:.0%} of the tokens"
            console.print(Text(said), highlight=False, soft_wrap=not console.is_terminal)


def _notes(each: Difference) -> list[str]:
    notes = ((each.failed, "not read"), (each.unpaired, "unpaired"))
    return [f"{number:,} {what}" for number, what in notes if number]
