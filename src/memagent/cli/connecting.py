"""Connect a command to its model, and download the weights first if they are not on this machine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from memagent.cli import KEPT
from memagent.cli.terminal import Terminal
from memagent.models.catalogue import Model, NotPulled
from memagent.models.catalogue.pulling import pull
from memagent.models.chat import Chat
from memagent.models.connect import connect


def connect_or_fetch(model: str, *, quiet: bool = False, **options: Any) -> Chat:
    """Return the Chat for a model, after downloading its weights if necessary. `options` are those of `connect`.

    Raises:
        UsageError, ModelError: see `connect`; or the model cannot be downloaded.
        StorageError: there is no room for it.
    """
    try:
        return connect(model, **options)
    except NotPulled as missing:
        fetch(missing.model, quiet)
    return connect(model, **options)


def fetch(model: Model, quiet: bool) -> Path:
    """Download a catalogue model with a progress bar, and return the path of its file."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    console = Terminal(stderr=True, quiet=quiet)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )

    def say(text: str) -> None:
        console.print(text, soft_wrap=True)

    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(model.name, total=model.size)
        try:
            return pull(model, lambda done: progress.update(task, completed=done), say)
        except KeyboardInterrupt:  # no reading has begun
            KEPT["".join(sys.argv[1:2])] = KEPT["models"]
            raise
