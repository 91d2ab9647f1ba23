"""Multi-Conv DAPO (arXiv 2507.02259), top to bottom: sample groups of rollouts, assign credit, learn, repeat.

It departs from the authors' code on purpose. The mean over tokens covers the whole batch and all processes. The number
of optimiser steps per batch is fixed, however long the texts are. Dynamic sampling is on. The ratio uses the
log-probabilities recorded while sampling, so nothing is computed twice. KL penalty and dual clip are off by default.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

import torch

from memagent.rl.config import RLConfig
from memagent.rl.conversations import Conversation, merged
from memagent.rl.credit import advantages, informative, mass, overlong_penalty, token_weights
from memagent.rl.rollouts import Rollout
from memagent.train.batches import MicroBatch, in_turn, padding
from memagent.train.learner import Learner
from memagent.train.loss import Clip, divergence, policy_loss
from memagent.train.processes import Processes
from memagent.train.reference import Reference
from memagent.train.training import Training
from memagent.train.warmup import warm_up

Group = list[Rollout]


def train(training: Training) -> None:
    """Run the warm start and then RL, from the last checkpoint on.

    Raises:
        ModelError: the loss is not finite.
        StorageError: the disk is full. The last checkpoint is intact.
    """
    state = training.resume()
    if state["stage"] == "warmup":
        if training.config.warmup.steps:
            warm_up(training, state)
        state = {"stage": "rl", "step": 0}
    reinforce(training, state)


def reinforce(training: Training, state: dict[str, Any]) -> None:
    """Run RL from the step in `state` on."""
    config = training.config.rl
    learner = training.learner(config.learning_rate, config.steps * config.optimiser_steps, state, config.temperature)
    reference = Reference(training.policy, state.get("reference")) if config.kl else None
    kept = {"reference": reference.weights} if reference else {}
    for step in range(state["step"] + 1, config.steps + 1):
        began = time.perf_counter()
        groups, figures = sample_groups(training, config)
        lessons = credited(groups, config, training.processes)
        figures |= learn(training, lessons, learner, config, reference)
        figures |= training.speed([each for group in lessons for each in group], began)
        training.after_step("rl", step, config.steps, figures, [rollout for group in groups for rollout in group])
        training.save("rl", step, learner, done=step == config.steps, **kept)


def sample_groups(training: Training, config: RLConfig) -> tuple[list[Group], dict[str, float]]:
    """Sample a batch of groups with different rewards in each. Returns it with figures on all groups drawn."""
    began = time.perf_counter()
    sampler = training.sampler(config.temperature)
    kept: list[Group] = []
    drawn: list[Group] = []
    for _ in range(config.draws):
        problems = training.draw(config.problems - len(kept), training.problems)
        groups = sampler.rollouts(problems, config.group)
        drawn += groups
        kept += [group for group in groups if informative([rollout.reward for rollout in group])]
        if len(kept) == config.problems:
            break
    rollouts = [rollout for group in drawn for rollout in group]
    turns = [turn for rollout in rollouts for turn in rollout.trace.turns]
    completions = [turn.completion for turn in turns]
    read = [turn.completion.usage.completion_tokens for turn in turns if turn.request.segment]
    sums = training.processes.sum(
        {
            "reward": sum(rollout.reward for rollout in rollouts),
            "rollouts": len(rollouts),
            "overflowed": sum(rollout.overflowed for group in drawn for rollout in group),
            "drawn": len(drawn),
            "kept": len(kept),
            "completions": len(completions),
            "tokens": sum(completion.usage.completion_tokens for completion in completions),
            "cut": sum(completion.finish == "length" for completion in completions),
            "read": len(read),
            "written": sum(read),
        }
    )
    return kept, {
        "reward": sums["reward"] / sums["rollouts"],
        "rollouts_overflowed": sums["overflowed"],
        "groups_drawn": sums["drawn"],
        "groups_kept": sums["kept"],
        "completion_tokens": sums["tokens"] / sums["completions"],
        "tokens_per_segment": sums["written"] / max(sums["read"], 1),
        "completions_cut": sums["cut"] / sums["completions"],
        "sampling_seconds": time.perf_counter() - began,
    }


def credited(groups: Sequence[Group], config: RLConfig, processes: Processes) -> list[list[Conversation]]:
    """The conversations of each group, with the advantage and the weight of their tokens."""
    taught = [[_taught(rollout, config) for rollout in group] for group in groups]
    lengths = [[len(each.completion) for each in conversations] for group in taught for conversations in group]
    total = processes.sum({"mass": mass(lengths, config.weighting)})["mass"]
    weights = iter(token_weights(lengths, config.weighting, total))
    found = []
    for group, conversations_R in zip(groups, taught, strict=True):
        rewards = [rollout.reward + _overlong(rollout, config.overlong_margin) for rollout in group]
        found.append(
            [
                replace(each, advantage=advantage, weight=weight)
                for conversations, advantage, weight in zip(
                    conversations_R, advantages(rewards, config.divide_by_std), weights, strict=False
                )
                for each in conversations
            ]
        )
    return found


def learn(
    training: Training,
    groups: Sequence[list[Conversation]],
    learner: Learner,
    config: RLConfig,
    reference: Reference | None,
) -> dict[str, float]:
    """Take `optimiser_steps` steps on a batch, but no more than it has groups. Returns figures averaged over steps."""
    steps = min(config.optimiser_steps, int(training.processes.sum({"groups": len(groups)})["groups"]))
    if not steps:
        return {"optimiser_steps": 0}
    began = time.perf_counter()
    clip = Clip(config.clip_low, config.clip_high, config.dual_clip)

    def loss(
        logprobs_N: torch.Tensor, entropies_N: torch.Tensor, batch: MicroBatch
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        weights_N = batch.weights_N * steps  # a step sees only its part of the batch
        value, figures = policy_loss(logprobs_N, batch.sampled_N, batch.advantages_N, weights_N, clip)
        figures["entropy"] = (weights_N * entropies_N).sum()
        figures["mismatch"] = (weights_N * (logprobs_N.detach() - batch.sampled_N).abs()).sum()
        if reference is not None:
            kl = (weights_N * divergence(logprobs_N, reference.logprobs(batch, config.temperature))).sum()
            value, figures["kl"] = value + config.kl * kl, kl.detach()
        return value, figures

    parts = [merged(part) for part in in_turn(steps, groups, training.processes.rank)]
    found = [learner.step(part, loss) for part in parts]
    names = dict.fromkeys(name for each in found for name in each)
    return {name: fmean(each.get(name, 0.0) for each in found) for name in names} | {
        "mismatch": found[0].get("mismatch", 0.0),  # trainer against sampler, before the policy moves
        "padding": padding(pack for part in parts for pack in learner.packs(part)),
        "distinct": _tokens(parts) / _tokens(groups) if groups else 1.0,
        "optimiser_steps": steps,
        "learning_seconds": time.perf_counter() - began,
    }


def _tokens(parts: Sequence[Sequence[Conversation]]) -> int:
    return sum(len(each) for part in parts for each in part)


def _taught(rollout: Rollout, config: RLConfig) -> list[Conversation]:
    """The conversations that learn from a rollout's reward: all of them, or only the answer (the ablation)."""
    return rollout.conversations if config.credit == "all" else rollout.conversations[-1:]


def _overlong(rollout: Rollout, margin: int) -> float:
    """The penalty of the completion that comes closest to its token limit."""
    return min(
        (
            overlong_penalty(turn.completion.usage.completion_tokens, turn.request.max_tokens, margin)
            for turn in rollout.trace.turns
        ),
        default=0.0,
    )
