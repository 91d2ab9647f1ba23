"""Turn the rewards of rollouts into the advantage and the weight of every token. Pure: numbers in, numbers out.

Multi-Conv DAPO (arXiv 2507.02259): the advantage of a rollout is its reward minus the mean reward of its group, the
same for every token of every conversation of that rollout. The mean is over rollouts, never over conversations. The
advantage is divided by the standard deviation only on request.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, pstdev
from typing import Literal

Weighting = Literal["token", "rollout"]


def advantages(rewards_G: Sequence[float], divide_by_std: bool = False) -> list[float]:
    """Return the advantages of the G rollouts of one problem.

    With `divide_by_std`, they are divided by the standard deviation, as in GRPO (arXiv 2402.03300), or 0 if all rewards
    are equal.
    """
    mean = fmean(rewards_G)
    centred = [reward - mean for reward in rewards_G]
    if not divide_by_std:
        return centred
    deviation = pstdev(rewards_G)
    return [each / deviation if deviation > 0 else 0.0 for each in centred]


def informative(rewards_G: Sequence[float]) -> bool:
    """Return whether a group teaches anything: it does not if all its rewards are equal (DAPO, arXiv 2503.14476)."""
    return max(rewards_G) - min(rewards_G) > 1e-9


def mass(tokens_RC: Sequence[Sequence[int]], weighting: Weighting = "token") -> float:
    """Return how much these rollouts count in the batch: their tokens, or their number. Processes sum their masses."""
    return float(sum(map(sum, tokens_RC)) if weighting == "token" else len(tokens_RC))


def token_weights(
    tokens_RC: Sequence[Sequence[int]], weighting: Weighting = "token", total: float | None = None
) -> list[float]:
    """Return the weight of a token in each rollout. The weights of all tokens in the batch add up to 1.

    Args:
        tokens_RC: number of sampled tokens in each conversation of each rollout; rollouts may have different numbers of
            conversations.
        weighting: "token" weighs all tokens of the batch equally, as in the paper, so that long rollouts count for
            more; "rollout" weighs all rollouts equally.
        total: mass of the whole batch, if these rollouts are only a share of it.
    """
    whole = mass(tokens_RC, weighting) if total is None else total
    return [1 / whole if weighting == "token" else 1 / (whole * sum(tokens_C)) for tokens_C in tokens_RC]


def overlong_penalty(tokens: int, limit: int, margin: int) -> float:
    """Return DAPO's soft overlong punishment of a completion, from 0 to -1 (arXiv 2503.14476, equation 13).

    It is 0 up to `limit - margin` tokens, then falls linearly to -1 at `limit`.
    """
    if margin <= 0:
        return 0.0
    return max(min((limit - margin - tokens) / margin, 0.0), -1.0)
