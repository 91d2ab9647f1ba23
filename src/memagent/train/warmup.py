"""The supervised warm start, before RL: the policy imitates a perfect reader, or its own best rollouts."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from memagent.errors import UsageError
from memagent.prompts import NO_MEMORY, NONE, NOTHING
from memagent.reading import Underway
from memagent.records import Completion
from memagent.train.batches import Conversation, MicroBatch
from memagent.train.config import WarmupConfig
from memagent.train.policy import Policy
from memagent.train.problems import Problem
from memagent.train.rollout import Rollout
from memagent.train.training import Training


def warm_up(training: Training, state: dict[str, Any]) -> None:
    """Supervised steps, until there have been enough or an evaluation is good enough."""
    config = training.config.warmup
    learner = training.learner(config.learning_rate, config.steps, state)
    step, reached = state["step"], 0.0
    while step < config.steps and reached < config.stop_at:
        began = time.perf_counter()
        lessons = _lessons(training, config)
        tokens = training.processes.sum({"tokens": sum(len(each.completion) for each in lessons)})["tokens"]
        figures = learner.step([replace(each, weight=1 / tokens) for each in lessons], imitation)
        step += 1
        found = training.after_step("warmup", step, config.steps, figures | training.speed(lessons, began))
        reached = next(iter(found.values())).mean if found else 0.0
        training.save("warmup", step, learner, done=step == config.steps or reached >= config.stop_at)


def imitation(
    logprobs_N: torch.Tensor, entropies_N: torch.Tensor, batch: MicroBatch
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The cross-entropy of the completions' tokens."""
    return -(batch.weights_N * logprobs_N).sum(), {"entropy": (batch.weights_N * entropies_N).sum()}


def ideal(policy: Policy, problem: Problem, config: WarmupConfig | None = None) -> list[Conversation]:
    """What a perfect policy would say, conversation by conversation, less what the configuration leaves out.

    Raises:
        UsageError: nobody knows.
    """
    if problem.ideal is None:
        raise UsageError(f"Nobody knows the ideal completions of {problem.name}: set warmup.source to own.")
    config = config or WarmupConfig()
    found = []
    draw = random.Random(problem.name)
    attempt = Underway(problem.begin())
    before, read = None, None
    while (request := attempt.request) is not None:
        text = problem.ideal(request)
        empty = request.kind == "answer" and request.memory in (NO_MEMORY, NOTHING)
        again = request.kind == "memorize" and request.segment == read and text == NONE
        same = text == before and request.kind == "memorize" and text != NONE
        if draw.random() < (config.easy if empty or again else config.unchanged if same else 1):
            completion = (*policy.tokenizer.ids(text), policy.end)
            found.append(Conversation(tuple(policy.render(request.messages)), completion))
        before, read = text, request.segment
        attempt.take(Completion(problem.slip(request, text)))
    return found


def best(group: Sequence[Rollout]) -> list[Rollout]:
    """The rollouts with the highest reward of their group; none where all failed."""
    most = max(rollout.reward for rollout in group)
    return [rollout for rollout in group if rollout.reward == most > 0]


def _lessons(training: Training, config: WarmupConfig) -> list[Conversation]:
    """Conversations to be imitated."""
    problems = training.lessons(config.problems)
    if config.source == "ideal":
        return [each for problem in problems for each in ideal(training.policy, problem, config)]
    groups = training.sampler(1.0).rollouts(problems, config.group)
    return [each for group in groups for rollout in best(group) for each in rollout.conversations]
