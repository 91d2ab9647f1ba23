"""The loss and its gradient equal numbers worked out by hand; the gradient equals finite differences."""

from __future__ import annotations

from math import exp, log

import pytest
import torch

from memagent.train.loss import Clip, divergence, policy_loss


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_three_rollouts_of_two_three_and_five_conversations() -> None:
    """One token per conversation, ratio 1.1 everywhere: inside the clip, so the loss is -1.1 x mean(advantage)."""
    advantages = tensor(*[0.5] * 2, *[-0.5] * 3, *[0.0] * 5)
    sampled = tensor(*[-1.0] * 10)
    now = (sampled + log(1.1)).requires_grad_()
    loss, figures = policy_loss(now, sampled, advantages, tensor(*[0.1] * 10), Clip())
    # -(2 x 0.5 - 3 x 0.5) x 1.1 / 10
    assert loss.item() == pytest.approx(0.055)
    loss.backward()
    # d/dlogp of -w r A is -w r A.
    assert now.grad is not None
    assert now.grad.tolist() == pytest.approx([-0.055] * 2 + [0.055] * 3 + [0.0] * 5)
    assert figures["clipped"].item() == 0


@pytest.mark.parametrize(
    ("ratio", "advantage", "objective", "stopped"),
    [
        (1.5, 1.0, 1.28, True),  # clip-higher bounds the gain
        (1.25, 1.0, 1.25, False),  # the plain clip of 0.2 would stop here
        (0.5, 1.0, 0.5, False),  # a good token that became rare may come back
        (0.5, -1.0, -0.8, True),  # a bad token that became rare has lost enough
        (1.5, -1.0, -1.5, False),
        (9.0, -1.0, -9.0, False),
    ],
)
def test_the_clip(ratio: float, advantage: float, objective: float, stopped: bool) -> None:
    now = tensor(log(ratio)).requires_grad_()
    loss, figures = policy_loss(now, tensor(0.0), tensor(advantage), tensor(1.0), Clip())
    loss.backward()
    assert loss.item() == pytest.approx(-objective)
    assert figures["clipped"].item() == stopped
    assert now.grad is not None
    assert now.grad.item() == pytest.approx(0 if stopped else -ratio * advantage)


def test_the_dual_clip_bounds_the_loss_of_a_bad_token() -> None:
    now = tensor(log(9.0)).requires_grad_()
    loss, figures = policy_loss(now, tensor(0.0), tensor(-1.0), tensor(1.0), Clip(dual=3.0))
    loss.backward()
    assert now.grad is not None
    assert (loss.item(), figures["clipped"].item(), now.grad.item()) == (3.0, 1.0, 0.0)


def test_the_gradient_is_that_of_finite_differences() -> None:
    random = torch.Generator().manual_seed(1)
    sampled = -torch.rand(40, generator=random, dtype=torch.float64) * 3
    now = (sampled + 0.4 * torch.randn(40, generator=random, dtype=torch.float64)).requires_grad_()
    advantages = torch.randn(40, generator=random, dtype=torch.float64)
    weights = torch.rand(40, generator=random, dtype=torch.float64)

    def loss(logprobs: torch.Tensor) -> torch.Tensor:
        value, _ = policy_loss(logprobs, sampled, advantages, weights, Clip(dual=3.0))
        return value + 0.1 * (weights * divergence(logprobs, sampled)).sum()

    assert torch.autograd.gradcheck(loss, (now,))


def test_the_divergence_is_k3() -> None:
    assert divergence(tensor(-1.0), tensor(-2.0)).item() == pytest.approx(exp(-1) + 1 - 1)
    assert divergence(tensor(-1.0), tensor(-1.0)).item() == 0


def test_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match="one length"):
        policy_loss(torch.zeros(2, 3), torch.zeros(2, 3), torch.zeros(2, 3), torch.zeros(2, 3), Clip())
    with pytest.raises(ValueError, match="one length"):
        policy_loss(torch.zeros(3), torch.zeros(3), torch.zeros(1), torch.zeros(3), Clip())
