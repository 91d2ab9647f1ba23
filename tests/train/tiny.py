"""A training that is small enough for tests: the nano policy, short texts, a few steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from memagent.rl.config import TrainConfig, load_config
from memagent.train.dapo import train
from memagent.train.folder import read_metrics
from memagent.train.processes import Processes
from memagent.train.setup import set_up

SETS = (
    "problems.lengths=['48']",
    "problems.warmup_lengths=['48']",
    "problems.tasks=['colours']",
    "warmup.steps=6",
    "warmup.problems=8",
    "warmup.stop_at=1.0",
    "rl.steps=4",
    "rl.problems=4",
    "rl.group=4",
    "rl.draws=2",
    "rl.optimiser_steps=2",
    "watch.evaluate_every=3",
    "watch.evaluate_samples=6",
    "watch.checkpoint_every=2",
    "watch.trace_every=2",
    "watch.final_lengths=[]",
    # An untrained policy is never right, so exact match would always be 0; f1 differs now and then.
    "problems.metric='f1'",
)
TIMES = {"seconds", "tokens_per_second", "sampling_seconds", "learning_seconds"}


def config(*sets: str) -> TrainConfig:
    return load_config(preset="nano", sets=[*SETS, *sets])


def run(out: Path, *sets: str) -> list[dict[str, Any]]:
    """Train. Returns the metrics without figures that depend on the clock."""
    processes = Processes()
    training = set_up(config(*sets), out, processes=processes)
    try:
        train(training)
    finally:
        training.close()
        processes.close()
    return metrics(out)


def metrics(out: Path) -> list[dict[str, Any]]:
    rows = read_metrics(out / "metrics.jsonl")
    return [{name: value for name, value in row.items() if name not in TIMES} for row in rows]
