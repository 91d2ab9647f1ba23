"""Measures the trainer: readings in lockstep against one by one, padding of an update, the gain from shared prefixes,
and tokens trained per second against TRL.

TRL needs its own environment: `python benchmarks/train.py PYTHON`, where PYTHON has trl 1.16 and torch 2.13.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory

import torch
from common import clock, figure, text

from memagent.core.records import Completion, Message, Request, Trace
from memagent.models.catalogue import model_path
from memagent.models.chat import Sampling
from memagent.rl.config import OptimiserConfig, PolicyConfig, RLConfig, TrainConfig, WatchConfig, load_config
from memagent.rl.conversations import Conversation
from memagent.rl.problems import Problem
from memagent.rl.rollouts import Rollout
from memagent.train.batches import collate, logprobs, micro_batches, padding
from memagent.train.dapo import reinforce
from memagent.train.folder import TrainingFolder, read_metrics
from memagent.train.loading import dequantised, make_policy
from memagent.train.policy import Policy
from memagent.train.sampler import Sampler
from memagent.train.setup import set_up
from memagent.train.training import Training
from memagent.train.warmup import warm_up

# Against TRL: all prompts have one length and all completions another, so that both process the same tokens.
PROMPT, COMPLETION, GROUPS, GROUP, STEPS = 256, 48, 2, 8, 3


def main(trl: str = "") -> None:
    with TemporaryDirectory() as folder:
        nano(Path(folder) / "nano")
        policy = make_policy(PolicyConfig("smollm2-135m"), 0, torch.device("cpu"))
        beginnings(policy)
        if trl:
            against_trl(trl, policy, Path(folder) / "trl")
        else:
            figure("train: tokens a second against TRL", "not measured", "needs an environment with TRL")


def nano(folder: Path) -> None:
    """Sample readings of the nano preset after its warm start: 256 at once, and 32 of them one by one."""
    config = load_config(preset="nano", sets=["watch.evaluate_every=0"])
    training = set_up(config, folder)
    warm_up(training, {"step": 0})
    training.close()
    problems = [training.problems.problem(number) for number in range(256)]
    together, rollouts = _speed(training.policy, [problems])
    alone, _ = _speed(training.policy, [[problem] for problem in problems[:32]])
    figure(
        "train: tokens sampled a second, 256 readings in lockstep",
        f"{together:,.0f} = {together / alone:.1f} x one by one",
        "goal: at least 5 x",
    )
    conversations = [each for rollout in rollouts for each in rollout.conversations]
    share = padding(micro_batches(conversations, config.optimiser.micro_tokens))
    figure(f"train: padding, {len(conversations):,} conversations of many lengths", f"{share:.1%}", "goal: under 10 %")


def _speed(policy: Policy, batches: list[list[Problem]]) -> tuple[float, list[Rollout]]:
    """Return the tokens sampled per second, and the rollouts."""
    sampler = Sampler(policy, Sampling(1.0), torch.Generator().manual_seed(1))
    with clock() as seconds:
        rollouts = [rollout for batch in batches for (rollout,) in sampler.rollouts(batch)]
    return sampler.work.sampled_tokens / seconds[0], rollouts


def beginnings(policy: Policy) -> None:
    """Time forward and backward of SmolLM2-135M on conversations whose prompts begin with the same section."""
    ids = policy.tokenizer.ids(text(100_000))
    section = tuple(ids[:512])
    lessons = [
        Conversation(section + tuple(ids[at : at + 96]), tuple(ids[at + 96 : at + 128])) for at in range(600, 3600, 250)
    ]
    seconds = {}
    for share in (False, True):
        with clock() as seconds[share]:
            for pack in micro_batches(lessons, 8192, share):
                logprobs(policy, collate(pack, policy.pad))[0].sum().backward()
    policy.model.zero_grad()
    figure(
        f"train: {len(lessons)} conversations with {len(section)} tokens of {len(lessons[0])} in common, learnt from",
        f"{seconds[False][0] / seconds[True][0]:.1f} x as fast as each by itself",
    )


def against_trl(python: str, policy: Policy, folder: Path) -> None:
    """Compare whole steps (sampling and learning) of all weights of SmolLM2-135M in float32: ours, then TRL's."""
    policy.stops = frozenset()  # so that all completions have the same length
    ids = policy.tokenizer.ids(text(200_000))
    prompts = [policy.decode(ids[start : start + PROMPT]) for start in range(0, GROUPS * STEPS * 1000, 1000)]
    ours = _ours(policy, prompts, folder)
    del policy
    file = folder / "prompts.json"
    file.write_text(json.dumps(prompts), encoding="utf-8")
    script = Path(__file__).with_name("train_trl.py")
    command = [
        python,
        str(script),
        str(dequantised(model_path("smollm2-135m"))),
        str(file),
        *map(str, (COMPLETION, GROUPS, GROUP)),
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    theirs = json.loads(done.stdout.splitlines()[-1])
    figure(
        f"train: tokens trained a second, steps of {GROUPS * GROUP} x ({PROMPT} + {COMPLETION})",
        f"{ours:,.0f} = {ours / theirs:.2f} x TRL's {theirs:,.0f}",
        "goal: at least 1 x",
    )


def _ours(policy: Policy, prompts: list[str], folder: Path) -> float:
    """Return tokens per second without the first step."""
    config = TrainConfig(
        rl=RLConfig(steps=STEPS, problems=GROUPS, group=GROUP, draws=1, learning_rate=1e-6),
        optimiser=OptimiserConfig(micro_tokens=GROUP * (PROMPT + COMPLETION + 16)),
        watch=WatchConfig(evaluate_every=0, checkpoint_every=1000, trace_every=0),
    )
    training = Training(policy, _Prompts(prompts), {}, config, TrainingFolder(folder, config))
    reinforce(training, {"step": 0})
    training.close()
    steps = read_metrics(folder / "metrics.jsonl")[1:]
    return fmean(row["tokens_per_second"] for row in steps)


class _Prompts:
    """Problems with one conversation each, and a reward that differs within a group."""

    def __init__(self, prompts: list[str]) -> None:
        self._prompts = prompts

    def problem(self, number: int) -> Problem:
        draw = random.Random(number)

        def begin() -> Generator[Request, Completion, str]:
            return (yield Request((Message("user", self._prompts[number]),), COMPLETION)).text

        def reward(answer: str, trace: Trace) -> float:
            return draw.random()

        return Problem(str(number), begin, reward)


if __name__ == "__main__":
    main(*sys.argv[1:2])
