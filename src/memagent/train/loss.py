"""The policy loss of DAPO, token by token. Pure: tensors in, a scalar and figures out.

The N tokens are the completion tokens of a micro-batch, one conversation after another; prompts are not among them. The
weights (credit.token_weights) make the losses of micro-batches add up to the loss of the batch, however it is cut and
whichever process computes each part.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Clip:
    """How far the policy may move from the one that sampled: the ratio of probabilities is clipped to 1-low … 1+high.

    `dual` bounds the loss of a token with a negative advantage and an exploding ratio (arXiv 1912.09729); None sets no
    bound.
    """

    low: float = 0.2
    high: float = 0.28
    dual: float | None = None


def policy_loss(
    logprobs_N: torch.Tensor,
    sampled_N: torch.Tensor,
    advantages_N: torch.Tensor,
    weights_N: torch.Tensor,
    clip: Clip,
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The clipped surrogate, to be minimised: minus the sum of weight x min(r A, clip(r) A).

    Args:
        logprobs_N: log-probabilities of the sampled tokens under the current policy.
        sampled_N: their log-probabilities under the policy that sampled them.
        advantages_N, weights_N: advantage and weight of each token.

    Returns:
        The loss, and figures that add up over micro-batches like the loss: `clipped`, the share of the weight whose
        gradient the clip stopped; `moved`, the divergence from the sampling policy (k3, see `divergence`).
    """
    if not logprobs_N.shape == sampled_N.shape == advantages_N.shape == weights_N.shape or logprobs_N.dim() != 1:
        raise ValueError(
            f"four vectors of one length are needed, not {[*map(list, (t.shape for t in (logprobs_N, sampled_N)))]}"
        )
    ratios_N = torch.exp(logprobs_N - sampled_N)
    free_N = ratios_N * advantages_N
    bound_N = ratios_N.clamp(1 - clip.low, 1 + clip.high) * advantages_N
    objective_N = torch.minimum(free_N, bound_N)
    stopped_N = bound_N < free_N
    if clip.dual is not None:
        floor_N = clip.dual * advantages_N
        worse_N = (advantages_N < 0) & (objective_N < floor_N)
        objective_N = torch.where(worse_N, floor_N, objective_N)
        stopped_N = stopped_N | worse_N
    figures = {
        "clipped": (weights_N * stopped_N).sum().detach(),
        "moved": (weights_N * divergence(logprobs_N, sampled_N)).sum().detach(),
    }
    return -(weights_N * objective_N).sum(), figures


def divergence(logprobs_N: torch.Tensor, reference_N: torch.Tensor) -> torch.Tensor:
    """The k3 estimate of KL(policy || reference) at tokens that the policy sampled; never negative.

    Source: J. Schulman, "Approximating KL divergence", 2020.
    """
    gap_N = reference_N - logprobs_N
    return torch.exp(gap_N) - gap_N - 1
