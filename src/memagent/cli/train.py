"""`memagent train CONFIG.toml` or `memagent train --preset NAME`."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated

import typer

from memagent.cli import app
from memagent.cli.options import Debug, Json, Quiet
from memagent.errors import UsageError


@app.command()
def train(
    config: Annotated[Path | None, typer.Argument(help="A TOML file.", show_default=False)] = None,
    preset: Annotated[
        str | None, typer.Option(help="nano (minutes on a CPU), smollm2, smollm2-policy or reader.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where it goes; run again to go on there. [default: runs/NAME]")
    ] = None,
    sets: Annotated[
        list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Change a setting; repeatable.")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0, help="Stop after so many minutes, with a checkpoint; run again to go on.")
    ] = None,
    json_output: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Train a policy: a supervised warm start, then reinforcement learning of the memory (Multi-Conv DAPO)."""
    try:
        import torch  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as error:
        raise UsageError(f"Training needs {error.name}: pip install 'memagent[train]'.") from error
    from memagent.cli.train_screen import TrainScreen
    from memagent.train.config import load_parts
    from memagent.train.parts import train_parts
    from memagent.train.processes import Processes

    parts = load_parts(config, preset, sets or [])
    folder = out or Path("runs") / (preset or (config.stem if config else "train"))
    processes = Processes()
    try:
        with TrainScreen(quiet or json_output) as screen:
            screen.say(
                f"Figures go to {folder}/metrics.jsonl and {folder}/tensorboard, weights to {folder}/checkpoints."
            )
            found = train_parts(
                parts, folder, processes, screen.on_part, screen.on_step, screen.say,
                math.inf if minutes is None else minutes,
            )  # fmt: skip
        first = processes.first
    finally:
        processes.close()
    if not first:
        return
    if json_output:
        print(json.dumps(found))
    else:
        screen.table(found)
