"""The frozen policy from the start of RL, for the KL penalty. Only trained weights are stored twice."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from memagent.train.batches import MicroBatch, logprobs
from memagent.train.policy import Policy


class Reference:
    """A copy of a policy's trained weights as they are now, or `weights` from a checkpoint."""

    def __init__(self, policy: Policy, weights: Sequence[torch.Tensor] | None = None) -> None:
        self._policy = policy
        self.weights = [
            weight.to(policy.device) for weight in weights or [each.detach().clone() for each in policy.parameters]
        ]

    @torch.no_grad()
    def logprobs(self, batch: MicroBatch, temperature: float) -> torch.Tensor:
        """Log-probabilities of the N completion tokens of a micro-batch."""
        now = [parameter.data for parameter in self._policy.parameters]
        try:
            self._put(self.weights)
            return logprobs(self._policy, batch, temperature)[0]
        finally:
            self._put(now)

    def _put(self, weights: Sequence[torch.Tensor]) -> None:
        for parameter, weight in zip(self._policy.parameters, weights, strict=True):
            parameter.data = weight
