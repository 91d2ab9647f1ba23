"""`memagent show RUN`"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from memagent.cli import app
from memagent.cli.options import Debug
from memagent.cli.runs import latest
from memagent.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from memagent.runs.run import Run


@app.command()
def show(
    run: Annotated[
        Path | None, typer.Argument(metavar="RUN", help="A run directory. [default: the latest]", show_default=False)
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write a self-contained HTML page to this file instead.")] = None,
    debug: Debug = False,
) -> None:
    """Show a reading: what each turn changed in the memory, the answer, and where it came from."""
    from memagent.cli.terminal import Terminal, visible
    from memagent.evidence.run_page import run_page
    from memagent.runs.run import Run, find_runs

    runs = [Run(folder) for folder in find_runs(run or latest())]
    if html is not None:
        for number, each in enumerate(runs, 1):
            target = html if len(runs) == 1 else html.with_stem(f"{html.stem}-{number}")
            _write(target, run_page(each))
            print(visible(f"Wrote {target}."), file=sys.stderr)
        return
    console = Terminal()
    for each in runs:
        _print(each, console)


def _print(run: Run, console: Console) -> None:
    from rich.text import Text

    from memagent.cli.ask_output import print_citations, print_warnings
    from memagent.evidence.answer import citations_of, cited, parts_of, warnings_of
    from memagent.evidence.run_page import answer_of
    from memagent.evidence.timeline import render

    trace, parts = run.trace, parts_of(run)
    console.print(Text(trace.question, style="bold"))
    names = ", ".join(part.name for part in parts)
    console.print(Text(f"{names}, read by {run.header['model']}\n", style="dim"))
    render(trace, console)
    if trace.answer is None:
        console.print(Text("Not finished. Run the same command again to resume it.", style="yellow"))
        return
    console.print(Text(answer_of(run) or "", style="bold"))
    print_citations([cited(citation, parts, trace.segments) for citation in citations_of(run) or []], console)
    print_warnings(warnings_of(run), console)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8", errors="backslashreplace")  # file names need not be UTF-8
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}.") from error
