"""Credit for whole rollouts equals numbers worked out by hand, through the loss and however the batch is cut."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from memagent.core.records import Completion, Message, Request, Tokens, Trace, Turn, Usage
from memagent.rl.config import OptimiserConfig, RLConfig
from memagent.rl.conversations import Conversation
from memagent.rl.rollouts import Rollout
from memagent.train.dapo import credited, learn
from memagent.train.learner import Learner
from memagent.train.nano import nano_policy
from memagent.train.processes import Processes
from memagent.train.training import Training


def rollout(reward: float, conversations: int, tokens: int = 2, limit: int = 8) -> Rollout:
    """A rollout whose conversations have different prompts and completions of `tokens` tokens."""
    turns = []
    for number in range(conversations):
        ids = tuple(10 + (3 * number + place) % 60 for place in range(tokens))
        prompt = tuple(5 + (7 * number + place) % 60 for place in range(4 + number))
        completion = Completion("", "stop", Usage(len(prompt), tokens), Tokens(ids, (-4.0,) * tokens, prompt))
        turns.append(Turn(number, Request((Message("user", ""),), limit), completion, ""))
    return Rollout("p", Trace("p", turns), "", reward)


GROUPS = [[rollout(1.0, 2), rollout(0.0, 3), rollout(0.5, 5)], [rollout(0.0, 2, 4), rollout(1.0, 3, 1)]]


def test_two_three_and_five_conversations() -> None:
    first, second = credited(GROUPS, RLConfig(), Processes())
    assert [each.advantage for each in first] == [0.5] * 2 + [-0.5] * 3 + [0.0] * 5
    assert [each.advantage for each in second] == [-0.5] * 2 + [0.5] * 3
    # 20 tokens in the first group, 8 and 3 in the second.
    assert {each.weight for each in first + second} == {1 / 31}


def test_the_last_conversation_alone() -> None:
    first, second = credited(GROUPS, RLConfig(credit="last"), Processes())
    assert [each.advantage for each in first] == [0.5, -0.5, 0.0]
    assert {each.weight for each in first + second} == {1 / (3 * 2 + 4 + 1)}


def test_the_soft_punishment_is_part_of_the_reward() -> None:
    group = [rollout(1.0, 2, tokens=4), rollout(1.0, 2, tokens=7), rollout(0.0, 2, tokens=2)]
    [found] = credited([group], RLConfig(overlong_margin=4), Processes())
    # 7 of 8 tokens with a margin of 4: 3 past the border, -0.75. The mean of 1, 0.25 and 0 is 5/12.
    assert [each.advantage for each in found][::2] == pytest.approx([7 / 12, -2 / 12, -5 / 12])


def gradients(micro_tokens: int) -> tuple[float, torch.Tensor]:
    """Loss of one step on all groups, and its gradient as one vector before the optimiser changes anything."""
    policy = nano_policy(0)
    policy.model.double()
    config = OptimiserConfig(micro_tokens=micro_tokens, max_norm=1e9)
    learner = Learner(policy, 1e-3, 10, config, Processes())
    seen: list[torch.Tensor] = []
    learner.optimiser.register_step_pre_hook(
        lambda *_: seen.append(torch.cat([p.grad.flatten() for p in policy.parameters if p.grad is not None]))
    )
    training = Training.__new__(Training)
    training.policy, training.processes = policy, Processes()
    training.config = type("C", (), {"optimiser": config})()
    lessons = credited(GROUPS, RLConfig(), Processes())
    figures = learn(training, lessons, learner, RLConfig(), None)
    return figures["loss"], seen[0]


def test_the_gradient_is_the_same_under_accumulation_and_by_hand() -> None:
    loss, whole = gradients(10_000)
    for micro_tokens in (120, 60, 25):  # one, two, four and more micro-batches
        part_loss, part = gradients(micro_tokens)
        assert part_loss == pytest.approx(loss, rel=1e-6)
        assert torch.allclose(part, whole, rtol=1e-6, atol=1e-9)
    # By hand, conversation by conversation, with the model's own log-probabilities.
    policy = nano_policy(0)
    policy.model.double()
    total = torch.zeros((), dtype=torch.float64)
    for each in [each for group in credited(GROUPS, RLConfig(), Processes()) for each in group]:
        total = total + by_hand(policy.model, each)
    total.backward()
    expected = torch.cat([p.grad.flatten() for p in policy.parameters if p.grad is not None])
    assert total.item() == pytest.approx(loss, rel=1e-5)
    assert torch.allclose(whole, expected, rtol=1e-4, atol=1e-8)


def by_hand(model: torch.nn.Module, each: Conversation) -> torch.Tensor:
    logits = model(input_ids=torch.tensor([[*each.prompt, *each.completion]])).logits[0].double().log_softmax(-1)
    total = torch.zeros((), dtype=torch.float64)
    for place, (token, sampled) in enumerate(zip(each.completion, each.logprobs, strict=True), len(each.prompt) - 1):
        ratio = (logits[place, token] - sampled).exp()
        bound = ratio.clamp(0.8, 1.28)
        total = total - each.weight * torch.minimum(ratio * each.advantage, bound * each.advantage)
    return total


TWO = """
import json, sys, torch
import test_credited as t
from memagent.rl.config import OptimiserConfig, RLConfig
from memagent.train.learner import Learner
from memagent.train.dapo import credited, learn
from memagent.train.nano import nano_policy
from memagent.train.processes import Processes
from memagent.train.training import Training
torch.set_num_threads(1)
processes = Processes()
assert processes.many == int(sys.argv[2])
policy = nano_policy(0)
config = OptimiserConfig()
learner = Learner(policy, 1e-3, 10, config, processes)
training = Training.__new__(Training)
training.policy, training.processes = policy, processes
training.config = type("C", (), {"optimiser": config})()
mine = t.GROUPS[processes.rank :: processes.many]
seen = []
learner.optimiser.register_step_pre_hook(
    lambda *_: seen.append(torch.cat([p.grad.flatten() for p in policy.parameters]))
)
figures = learn(training, credited(mine, RLConfig(), processes), learner, RLConfig(), None)
if processes.first:
    torch.save({"loss": figures["loss"], "norm": figures["norm"], "gradient": seen[0]}, sys.argv[1])
processes.close()
"""


@pytest.mark.slow
def test_two_processes_take_the_step_of_one(tmp_path: Path) -> None:
    """Each process has one group. They use gloo on the CPU."""
    program = tmp_path / "two.py"
    program.write_text(TWO, encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent), "OMP_NUM_THREADS": "1"}
    found = []
    for number in (1, 2):
        out = tmp_path / f"{number}.pt"
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={number}"]
        launched = [sys.executable] if number == 1 else command
        subprocess.run(
            [*launched, str(program), str(out), str(number)],
            check=True, env=environment | {"ACCELERATE_USE_CPU": "true"}, capture_output=True, timeout=200,
        )  # fmt: skip
        found.append(torch.load(out, weights_only=True))
    one, two = found
    assert two["loss"] == pytest.approx(one["loss"], rel=1e-5)
    assert two["norm"] == pytest.approx(one["norm"], rel=1e-5)
    assert torch.allclose(two["gradient"], one["gradient"], rtol=1e-4, atol=1e-8)
    assert json.dumps(one["loss"]) != json.dumps(0.0)
