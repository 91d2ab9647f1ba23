"""The supervised warm start before RL: the policy imitates a perfect reader, or its own best rollouts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from memagent.rl.config import WarmupConfig
from memagent.rl.conversations import Conversation
from memagent.rl.rollouts import Rollout
from memagent.train.batches import MicroBatch
from memagent.train.lessons import lessons_from, tokens_of
from memagent.train.training import Training


def warm_up(training: Training, state: dict[str, Any]) -> None:
    """Take supervised steps until all are done or an evaluation reaches `warmup.stop_at`."""
    config, processes = training.config.warmup, training.processes
    learner = training.learner(config.learning_rate, config.steps, state)
    step, reached = state["step"], 0.0
    curriculum = training.curriculum
    with lessons_from(curriculum, training.policy, training.position, processes.rank, processes.many) as coming:
        while step < config.steps and reached < config.stop_at:
            began = time.perf_counter()
            lessons = next(coming) if config.source == "ideal" else _own(training, config)
            training.position += config.problems
            tokens = processes.sum({"tokens": tokens_of(lessons)})["tokens"]
            figures = learner.step([replace(each, weight=1 / tokens) for each in lessons], imitation)
            step += 1
            found = training.after_step("warmup", step, config.steps, figures | training.speed(lessons, began))
            reached = next(iter(found.values())).mean if found else 0.0
            training.save("warmup", step, learner, done=step == config.steps or reached >= config.stop_at)


def imitation(
    logprobs_N: torch.Tensor, entropies_N: torch.Tensor, batch: MicroBatch
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The cross-entropy of the completion tokens."""
    return -(batch.weights_N * logprobs_N).sum(), {"entropy": (batch.weights_N * entropies_N).sum()}


def best(group: Sequence[Rollout]) -> list[Rollout]:
    """The rollouts with the highest reward of their group; none if all rewards are 0."""
    most = max(rollout.reward for rollout in group)
    return [rollout for rollout in group if rollout.reward == most > 0]


def _own(training: Training, config: WarmupConfig) -> list[Conversation]:
    """The conversations of the policy's own best rollouts."""
    problems = training.curriculum.at(training.position, training.processes.rank, training.processes.many)
    groups = training.sampler(1.0).rollouts(problems, config.group)
    return [each for group in groups for rollout in best(group) for each in rollout.conversations]
