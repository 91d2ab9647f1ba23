"""One optimiser step of verl, on one and on two ranks, against one of memagent's own trainer."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("verl")

import torch
from one_step import LEARNING_RATE
from safetensors.torch import load_file

from memagent.rl.config import OptimiserConfig
from memagent.rl.conversations import Conversation
from memagent.rl.credit import token_weights
from memagent.train.batches import MicroBatch
from memagent.train.learner import Learner
from memagent.train.loss import Clip, policy_loss
from memagent.train.nano import nano_policy
from memagent.train.processes import Processes

ROWS = 24
TINY = 1e-6
"""Gradients below this are rounding. Adam divides a gradient by its size, so their steps are as long as any."""


def batch() -> list[Conversation]:
    """Return conversations of different lengths, whose sampled log-probabilities are those of another policy."""
    chance = random.Random(0)
    lengths = [(chance.randint(3, 30), chance.randint(1, 6)) for _ in range(ROWS)]
    weights = token_weights([[completion] for _, completion in lengths])
    return [
        Conversation(
            tuple(chance.randrange(3, 90) for _ in range(prompt)),
            tuple(chance.randrange(3, 90) for _ in range(completion)),
            tuple(chance.uniform(-6, -3) for _ in range(completion)),
            chance.choice([-0.5, 0.5]),
            weight,
        )
        for (prompt, completion), weight in zip(lengths, weights, strict=True)
    ]


def own_step(conversations: list[Conversation]) -> dict[str, tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Return the weights before and after a step of memagent's own trainer, and their gradients, by name."""
    policy = nano_policy(0)
    before = {name: each.detach().clone() for name, each in policy.model.named_parameters()}
    learner = Learner(policy, LEARNING_RATE, 10, OptimiserConfig(warmup_steps=0), Processes())

    def loss(
        logprobs_N: torch.Tensor, entropies_N: torch.Tensor, batch: MicroBatch
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        return policy_loss(logprobs_N, batch.sampled_N, batch.advantages_N, batch.weights_N, Clip())

    learner.step(conversations, loss)
    return {
        # Adam's first mean is a tenth of the gradient.
        name: (before[name], each.detach(), 10 * learner.optimiser.state[each]["exp_avg"])
        for name, each in policy.model.named_parameters()
    }


@pytest.mark.parametrize("ranks", [1, 2])
def test_one_step(tmp_path: Path, ranks: int) -> None:
    conversations = batch()
    nano_policy(0).save(tmp_path)
    rows = [
        {
            "prompt": each.prompt,
            "completion": each.completion,
            "logprobs": each.logprobs,
            "advantages": [each.advantage] * len(each.completion),
        }
        for each in conversations
    ]
    (tmp_path / "batch.json").write_text(json.dumps(rows))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = str(Path(__file__).with_name("one_step.py"))
    arguments = [sys.executable, script, str(tmp_path), str(tmp_path / "batch.json"), str(tmp_path / "after")]
    started = []
    for rank in range(ranks):
        place = {"RANK": rank, "WORLD_SIZE": ranks, "LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": ranks, "RAY_LOCAL_RANK": 0}
        more = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WG_BACKEND": "ray", "RAY_LOCAL_WORLD_SIZE": ranks}
        environment = os.environ | {name: str(value) for name, value in (place | more).items()}
        started.append(subprocess.Popen(arguments, env=environment, stderr=subprocess.PIPE, text=True))
    for each in started:
        _, errors = each.communicate(timeout=200)
        assert each.returncode == 0, errors[-3000:]
    theirs = load_file(tmp_path / "after")
    steps = 0
    for name, (before, after, gradient) in own_step(conversations).items():
        clear = gradient.abs() > TINY
        torch.testing.assert_close(theirs[name][clear], after[clear], rtol=0, atol=1e-5)
        steps += int(((after - before)[clear].abs() > LEARNING_RATE / 2).sum())
    assert steps > 100_000
