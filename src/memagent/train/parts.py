"""A training run of one or several parts. Each continues with the policy of the part before, with its own optimiser.

A single part is written to OUT, several to OUT/part-1, OUT/part-2, … (see `folder.py`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from memagent.rl.config import TrainConfig
from memagent.train.dapo import train
from memagent.train.final_evaluation import Say, finish
from memagent.train.folder import newest, part_folder
from memagent.train.processes import Processes
from memagent.train.setup import set_up
from memagent.train.training import OnSave, OnStep

OnPart = Callable[[int, int], None]
"""Called before each part with its number (from 1) and the number of parts."""


def train_parts(
    parts: Sequence[TrainConfig],
    out: Path,
    processes: Processes,
    on_part: OnPart,
    on_step: OnStep,
    say: Say,
    minutes: float = math.inf,
    on_save: OnSave = lambda place: None,
) -> dict[str, Any]:
    """Train all unfinished parts. Returns the results of `finish` for the last part.

    Args:
        minutes: time limit. When it is reached, LimitReached is raised after a checkpoint.

    Raises:
        The errors of `set_up`, `train` and `finish`.
    """
    deadline = time.monotonic() + 60 * minutes
    out = out.absolute()  # later parts have it in their settings, which must not depend on how OUT was given
    found: dict[str, Any] = {}
    before: Path | None = None
    for number, config in enumerate(parts, 1):
        folder = part_folder(out, number) if len(parts) > 1 else out
        on_part(number, len(parts))
        if before:
            config = replace(config, policy=replace(config.policy, model=str(before)))
        training = set_up(config, folder, on_step, processes)
        training.deadline, training.on_save = deadline, on_save
        try:
            train(training)
            found = finish(training, config, say)
        finally:
            training.close()
        before = newest(folder)
    return found
