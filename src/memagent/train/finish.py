"""The end of a training: accuracy over length, before and after RL, as a table, as JSON and as pictures."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from memagent.tasks.catalog import Data
from memagent.tasks.example import parse_length
from memagent.train.config import TrainConfig
from memagent.train.evaluation import evaluate
from memagent.train.run import read_metrics, stage_end, writing
from memagent.train.setup import tests
from memagent.train.training import Training

Say = Callable[[str], None]


def finish(training: Training, config: TrainConfig, say: Say = lambda sentence: None) -> dict[str, Any]:
    """Evaluate the policies at the end of each stage at `watch.final_lengths`; write results.json and the curves.

    A length of a policy that results.json has already is not evaluated again.
    """
    path = training.run.folder / "results.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"accuracy": []}
    data = config.problems
    tasks = Data(data.prose, data.squad, data.hotpotqa, data.paragraphs, data.words).tasks(data.tasks)
    done = {(row["stage"], row["length"], row["samples"]) for row in found["accuracy"]}
    for stage in ("warmup", "rl"):
        place = stage_end(training.run.folder, stage)
        if place is None:
            continue
        training.policy.load_weights(place)
        for length in config.watch.final_lengths:
            if (stage, length, config.watch.final_samples) in done:
                continue
            say(f"evaluating {stage} at {length} tokens")
            suite = tests(tasks, [length], training.policy, config)
            accuracy = evaluate(training.policy, suite, config.watch.final_samples, config.sample_tokens)[length]
            row = {"stage": stage, "length": length, "tokens": parse_length(length).value, **asdict(accuracy)}
            found["accuracy"].append(row)
            if training.processes.first:
                with writing(path):
                    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if training.processes.first:
        _draw(training, found, say)
    return found


def _draw(training: Training, found: dict[str, Any], say: Say) -> None:
    from memagent.train.curves import available, draw

    if not available():
        say("No pictures: pip install 'memagent[plots]' for them.")
        return
    with writing(training.run.folder):
        draw(read_metrics(training.run.metrics), found["accuracy"], training.run.folder)
