"""`memagent runs` lists the readings kept without --run; `latest` prints the last one, `remove` removes some."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Annotated, Any

import typer

from memagent.cli import app
from memagent.cli.options import Debug, Json
from memagent.errors import RunError, UsageError

runs = typer.Typer(invoke_without_command=True, help="List the readings that were kept, or remove some.")
app.add_typer(runs, name="runs")


def kept() -> list[Path]:
    """The folders of the runs kept without --run, the latest last."""
    from memagent.runs.kept import runs_folder
    from memagent.runs.run import FILE

    journals = sorted(runs_folder().glob(f"*/{FILE}"), key=lambda path: path.stat().st_mtime)
    return [path.parent for path in journals]


def latest() -> Path:
    """The folder of the latest run kept without --run.

    Raises:
        UsageError: there is no such run.
    """
    found = kept()
    if not found:
        raise UsageError("No runs are kept on this machine: give the folder of a run.")
    return found[-1]


@runs.callback()
def listing(context: typer.Context, json_output: Json = False, debug: Debug = False) -> None:
    """List the readings that were kept, the latest last."""
    from memagent.cli.terminal import visible
    from memagent.runs.run import Run

    if context.invoked_subcommand is not None:
        return
    rows: list[dict[str, Any]] = []
    for folder in kept():
        try:
            run = Run(folder)
        except RunError as error:
            rows.append({"run": folder.name, "error": str(error)})
            continue
        rows.append(
            {
                "run": folder.name,
                "question": run.header["question"],
                "documents": [each["name"] for each in run.header["documents"]],
                "turns": len(run.trace.turns),
                "answer": run.end["answer"] if run.end else None,
            }
        )
    if json_output:
        print(json.dumps({"runs": rows}))
        return
    for row in rows:
        what = row.get("error") or f"{row['turns']} turns: {row['answer'] or 'not finished'}"
        print(visible(f"{row['run']}  {' '.join(str(what).split())}"))


@runs.command(name="latest")
def show_latest(debug: Debug = False) -> None:
    """Print the folder of the latest reading."""
    print(latest())


@runs.command()
def remove(
    names: Annotated[list[str], typer.Argument(metavar="NAME…", help="Names as listed by `memagent runs`.")],
    debug: Debug = False,
) -> None:
    """Remove readings for good."""
    known = {run.name: run for run in kept()}
    if unknown := [name for name in names if name not in known]:
        raise UsageError(f"There is no run called {unknown[0]}: `memagent runs` lists them.")
    for name in names:
        shutil.rmtree(known[name])
