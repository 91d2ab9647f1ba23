"""A training of one part or several: each goes on with the policy of the one before, and has an optimiser of its own.

OUT, where there is one part; else OUT/part-1, OUT/part-2 … are the folders of the parts (see `run.py`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from memagent.train.config import TrainConfig
from memagent.train.dapo import train
from memagent.train.final_evaluation import Say, finish
from memagent.train.folder import newest, part_folder
from memagent.train.processes import Processes
from memagent.train.setup import set_up
from memagent.train.training import OnStep

OnPart = Callable[[int, int], None]
"""Called before each part with its number, from 1 on, and how many there are."""


def train_parts(
    parts: Sequence[TrainConfig],
    out: Path,
    processes: Processes,
    on_part: OnPart,
    on_step: OnStep,
    say: Say,
    minutes: float = math.inf,
) -> dict[str, Any]:
    """Train all parts, each as far as it is not yet; what `finish` found of the last one.

    Args:
        minutes: after which it stops with a checkpoint, by raising LimitReached.

    Raises:
        What `set_up`, `train` and `finish` raise.
    """
    deadline = time.monotonic() + 60 * minutes
    out = out.absolute()  # it is in the settings of later parts, and the same run by whatever path
    found: dict[str, Any] = {}
    before: Path | None = None
    for number, config in enumerate(parts, 1):
        folder = part_folder(out, number) if len(parts) > 1 else out
        on_part(number, len(parts))
        if before:
            config = replace(config, policy=replace(config.policy, model=str(before)))
        training = set_up(config, folder, on_step, processes)
        training.deadline = deadline
        try:
            train(training)
            found = finish(training, config, say)
        finally:
            training.close()
        before = newest(folder)
    return found
