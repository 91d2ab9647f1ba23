"""Your own reader, with waves of three and its own kind of request, is trained like THE LOOP."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path

from threes import threes
from tiny import config, metrics

from memagent import Budget, segments
from memagent.core.records import Trace
from memagent.rl.problems import Problem
from memagent.train.dapo import train
from memagent.train.folder import TrainingFolder
from memagent.train.nano import PROMPTS, nano_policy
from memagent.train.policy import Policy
from memagent.train.training import Training

BUDGET = Budget(question=8, segment=8, memory=6, answer=4)


@dataclass
class Words:
    """Problems whose reward differs from one attempt to the next."""

    policy: Policy

    def problem(self, number: int) -> Problem:
        draw = random.Random(number)
        text = " ".join(draw.choices(["red", "blue", "leaf", "moon"], k=40))
        pieces = list(segments([text], BUDGET.segment, self.policy.tokenizer))

        def reward(answer: str, trace: Trace) -> float:
            written = sum(len(turn.completion.text) for turn in trace.turns)
            return (written % 7) / 7

        return Problem(str(number), lambda: threes("red", pieces, BUDGET, PROMPTS), reward)


def test_it_is_trained(tmp_path: Path) -> None:
    settings = config("warmup.steps=0", "watch.evaluate_every=0", "watch.trace_every=1", "rl.steps=2")
    policy = nano_policy(settings.seed)
    before = [weight.clone() for weight in policy.model.parameters()]
    training = Training(policy, Words(policy), {}, settings, TrainingFolder(tmp_path, settings))
    try:
        train(training)
    finally:
        training.close()
    assert [row["step"] for row in metrics(tmp_path) if row["stage"] == "rl"] == [1, 2]
    assert any(not was.equal(now) for was, now in zip(before, policy.model.parameters(), strict=True))
    [first, *_] = sorted((tmp_path / "traces").glob("rl-*.jsonl"))
    prompts = [json.loads(line)["prompt"][0] for line in first.read_text().splitlines()[1:]]
    assert [prompt.startswith("Problem: red") for prompt in prompts[:4]] == [False, False, False, True]
