"""The end of a training run: accuracy over length before and after RL, as a table, as JSON and as plots."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from memagent.disk import write_whole
from memagent.errors import RunError
from memagent.rl.config import TrainConfig
from memagent.rl.problem_mix import task_list, tests
from memagent.train.evaluation import evaluate
from memagent.train.folder import read_metrics, stage_end, writing
from memagent.train.loading import make_policy
from memagent.train.setup import final_lengths
from memagent.train.training import Training

Say = Callable[[str], None]
Row = dict[str, Any]


def finish(training: Training, config: TrainConfig, say: Say = lambda sentence: None) -> dict[str, list[Row]]:
    """Evaluate the policy of each stage at `watch.final_lengths`. Write results.json and the plots.

    Without a warm start, the policy that RL started with takes its place. Results that results.json already has for
    a checkpoint are kept.

    Returns:
        The rows of results.json, under "accuracy".

    Raises:
        RunError: results.json is damaged.
    """
    path = training.run.folder / "results.json"
    known = _known(path)
    rows: list[Row] = []
    for stage in ("warmup", "rl"):
        place = stage_end(training.run.folder, stage)
        if place is None and stage == "rl":
            continue
        for length in final_lengths(config):
            key = {
                "stage": stage,
                "checkpoint": place.name if place else "start",
                "length": length.value,
                "unit": length.unit,
                "samples": config.watch.final_samples,
            }
            row = next((row for row in known if key.items() <= row.items()), None)
            if row is None:
                say(f"evaluating {'the warm start' if stage == 'warmup' else 'RL'} at {length} {length.unit}")
                row = key | _accuracy(training, config, place, str(length))
            rows.append(row)
            if training.processes.first:
                _write(path, rows)
    if training.processes.first:
        _draw(training, rows, say)
    return {"accuracy": rows}


def _accuracy(training: Training, config: TrainConfig, place: Path | None, length: str) -> dict[str, float]:
    policy = training.policy
    if place:
        policy.load_weights(place)
    else:
        policy = make_policy(config.policy, config.seed, training.processes.device)
        policy.defaults = training.policy.defaults
    suite = tests(task_list(config.problems, config.problems.tasks), [length], policy, config)
    found = evaluate(policy, suite, config.watch.final_samples, config.sample_tokens)[length]
    return {"mean": found.mean, "low": found.low, "high": found.high}


def _known(path: Path) -> list[Row]:
    if not path.exists():
        return []
    try:
        found: list[Row] = json.loads(path.read_text(encoding="utf-8"))["accuracy"]
    except (ValueError, KeyError) as error:
        raise RunError(f"{path} is damaged ({error}): remove it, and run the same command again.") from error
    return found


def _write(path: Path, rows: list[Row]) -> None:
    with writing(path):
        write_whole(path, json.dumps({"accuracy": rows}, indent=1) + "\n")


def _draw(training: Training, rows: list[Row], say: Say) -> None:
    from memagent.train.curves import available, draw

    if not available():
        say("The plots are left out because matplotlib is missing: pip install 'memagent[plots]'.")
        return
    with writing(training.run.folder):
        draw(read_metrics(training.run.metrics), rows, training.run.folder)
