"""The settings that a training run was started with, in its config.json. The run refuses to resume with others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from memagent.disk import write_whole
from memagent.errors import RunError
from memagent.rl.config import TrainConfig, as_dict

_UNSETTLED = {
    *(
        "steps",
        "stop_at",
        "evaluate_every",
        "trace_every",
        "checkpoint_every",
        "checkpoint_minutes",
        "final_lengths",
        "final_samples",
        "wandb",
    ),
    *("micro_tokens", "sample_tokens", "gradient_checkpointing", "learning_rate"),
}
"""Settings that may change when a run is resumed."""


def bind(config: TrainConfig, folder: Path) -> None:
    """Write the settings of a run, after comparing them with those that it was started with.

    Raises:
        RunError: it was started with different settings, or the file is damaged.
    """
    path, settings = folder / "config.json", as_dict(config)
    if path.exists():
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise RunError(f"{path} is damaged ({error}): give another --out.") from error
        for name in _differing(before, settings):
            if name.split(".")[-1] not in _UNSETTLED:
                raise RunError(f"{folder} was started with a different {name}: set it back, or give another --out.")
    write_whole(path, json.dumps(settings, indent=1) + "\n")


def _differing(before: Any, after: Any, name: str = "") -> Iterator[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            yield from _differing(before.get(key), after.get(key), f"{name}.{key}" if name else key)
    elif before != after:
        yield name
