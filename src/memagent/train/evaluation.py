"""Accuracy of a policy on held-out problems, with greedy decoding and an interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from memagent.core.intervals import interval
from memagent.models.chat import Sampling
from memagent.rl.problems import Problems
from memagent.train.policy import Policy
from memagent.train.sampler import Sampler


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Mean reward from 0 to 1, with its 95 % interval."""

    mean: float
    low: float
    high: float
    samples: int


def evaluate(
    policy: Policy, tests: Mapping[str, Problems], samples: int, sample_tokens: int = 65536
) -> dict[str, Accuracy]:
    """Accuracy on each test's first `samples` problems, one greedy rollout each. Every process computes the same."""
    sampler = Sampler(policy, Sampling(0.0), torch.Generator(policy.device), sample_tokens)
    found = {}
    for name, problems in tests.items():
        drawn = {problem.name: problem for problem in map(problems.problem, range(samples))}  # each problem once
        groups = sampler.rollouts(list(drawn.values()))
        rewards = [group[0].reward for group in groups]
        found[name] = Accuracy(*interval(rewards, binary=False), len(rewards))
    return found
