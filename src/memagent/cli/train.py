"""`memagent train CONFIG.toml` or `memagent train --preset NAME`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from memagent.cli import app
from memagent.cli.options import Debug, Json, Quiet
from memagent.errors import UsageError


@app.command()
def train(
    config: Annotated[Path | None, typer.Argument(help="A TOML file.", show_default=False)] = None,
    preset: Annotated[str | None, typer.Option(help="nano (minutes on a CPU) or smollm2.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where it goes; run again to go on there. [default: runs/NAME]")
    ] = None,
    sets: Annotated[
        list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Change a setting; repeatable.")
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
    from memagent.cli.train_screen import Screen
    from memagent.train.config import load_config
    from memagent.train.finish import finish
    from memagent.train.loop import train as run_training
    from memagent.train.setup import set_up

    settings = load_config(config, preset, sets or [])
    folder = out or Path("runs") / (preset or (config.stem if config else "train"))
    with Screen(quiet or json_output) as screen:
        training = set_up(settings, folder, screen.on_step)
        try:
            run_training(training)
            found = finish(training, settings, screen.say)
        finally:
            training.close()
    if not training.processes.first:
        return
    if json_output:
        print(json.dumps(found))
    else:
        screen.table(found)
