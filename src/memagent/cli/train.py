"""`memagent train CONFIG.toml` or `memagent train --preset NAME`."""

from __future__ import annotations

import json
import math
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from memagent.cli import KEPT, app
from memagent.cli.options import Debug, Json, Quiet
from memagent.errors import UsageError

if TYPE_CHECKING:
    from memagent.rl.config import TrainConfig


@app.command()
def train(
    config: Annotated[Path | None, typer.Argument(help="A TOML file with settings.", show_default=False)] = None,
    preset: Annotated[
        str | None,
        typer.Option(help="nano (minutes on a CPU), smollm2, smollm2-policy, reader, paper-7b or paper-14b."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run; a run already there is resumed. [default: runs/NAME]")
    ] = None,
    sets: Annotated[
        list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Change a setting; repeatable.")
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(min=0, help="Save a checkpoint and stop after this many minutes; run again to resume."),
    ] = None,
    engine: Annotated[
        Literal["memagent", "verl"],
        typer.Option(help="memagent trains on this machine; verl trains on many GPUs, see docs/cluster.md."),
    ] = "memagent",
    dry: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="With --engine verl: check the settings, and count weights, tokens and memory; no training.",
        ),
    ] = False,
    json_output: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Train a policy: a supervised warm start, then reinforcement learning (Multi-Conv DAPO)."""
    try:
        import torch  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as error:
        raise UsageError(f"Training needs {error.name}: pip install 'memagent[train]'.") from error
    from memagent.cli.train_screen import TrainScreen
    from memagent.rl.config import load_parts
    from memagent.train.parts import train_parts
    from memagent.train.processes import Processes

    parts = load_parts(config, preset, sets or [])
    folder = out or Path("runs") / (preset or (config.stem if config else "train"))
    if engine == "verl":
        if len(parts) > 1:
            raise UsageError(
                "verl trains one part: split the file, and let each part start with the checkpoint before it."
            )
        if dry:
            _dry_run(parts[0], folder, json_output)
        else:
            _train_with_verl(parts[0], folder, minutes, quiet or json_output)
        return
    if dry:
        raise UsageError("--dry-run is for training with verl: add --engine verl, or leave it out.")
    processes = Processes()
    try:
        with TrainScreen(quiet or json_output) as screen:
            screen.say(
                f"Metrics go to {folder}/metrics.jsonl and {folder}/tensorboard, weights to {folder}/checkpoints."
            )
            found = train_parts(
                parts, folder, processes, screen.on_part, screen.on_step, screen.say,
                math.inf if minutes is None else minutes, screen.on_save,
            )  # fmt: skip
        first = processes.first
    except KeyboardInterrupt:
        KEPT["train"] = _kept(folder, processes.many)
        raise
    finally:
        processes.close()
    if not first:
        return
    if json_output:
        print(json.dumps(found))
    else:
        screen.table(found)


def _train_with_verl(config: TrainConfig, folder: Path, minutes: float | None, silent: bool) -> None:
    from memagent.cli.train_screen import TrainScreen
    from memagent.cluster.launch import launch
    from memagent.cluster.translate import unused

    if minutes is not None:
        raise UsageError("verl has no time limit: leave out --minutes. Ctrl-C stops it; checkpoints are kept.")
    with TrainScreen(silent) as screen:
        for sentence in unused(config):
            screen.say(sentence)
        screen.say(
            f"Metrics go to {folder}/metrics.jsonl, weights to {folder}/checkpoints, verl's own files to {folder}/verl."
        )
        launch(config, folder, screen.on_step)


def _dry_run(config: TrainConfig, folder: Path, json_output: bool) -> None:
    from dataclasses import asdict

    from memagent.cli.terminal import visible
    from memagent.cluster.dry_run import dry_run, lines
    from memagent.cluster.translate import unused

    found = dry_run(config, folder)
    if json_output:
        print(json.dumps(asdict(found) | {"folder": str(found.folder)}))
        return
    for name, text in lines(found):
        print(visible(f"{name:<12} {text}"))
    for sentence in unused(config):
        print(sentence)


def _kept(folder: Path, processes: int) -> str:
    """The sentence after "Interrupted.": the checkpoint to resume from, and the command that does it."""
    from memagent.train.folder import newest

    # Several processes were started by a launcher, whose part of the command is not known here.
    run = f"run: {shlex.join(['memagent', *sys.argv[1:]])}" if processes == 1 else "run the same command."
    place = newest(folder)
    if place is None:
        return f" There is no checkpoint yet. To start again, {run}"
    return f" The checkpoint {place} (step {int(place.name.split('-')[-1]):,}) is kept. To resume from it, {run}"
