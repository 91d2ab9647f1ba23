"""Advantages and weights against numbers worked out by hand."""

from __future__ import annotations

from math import isclose, sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memagent.rl.credit import advantages, informative, mass, overlong_penalty, token_weights

# Three rollouts with 2, 3 and 5 conversations.
TOKENS_RC = [[3, 1], [2, 2, 2], [1, 1, 1, 1, 6]]  # 4, 6 and 10 tokens
REWARDS = st.lists(st.floats(0, 1), min_size=1, max_size=16)


def test_the_mean_is_over_rollouts_and_not_over_conversations() -> None:
    # A mean over conversations would be (2 x 1 + 3 x 0 + 5 x 0.5) / 10 = 0.45.
    assert advantages([1.0, 0.0, 0.5]) == [0.5, -0.5, 0.0]


def test_division_by_the_standard_deviation_is_an_option() -> None:
    deviation = sqrt((0.25 + 0.25) / 3)
    assert advantages([1.0, 0.0, 0.5], divide_by_std=True) == pytest.approx([0.5 / deviation, -0.5 / deviation, 0.0])
    assert advantages([1.0, 1.0], divide_by_std=True) == [0.0, 0.0]


def test_a_group_of_equal_rewards_teaches_nothing() -> None:
    assert not informative([1.0, 1.0, 1.0])
    assert informative([1.0, 1.0, 0.0])


def test_every_token_weighs_the_same() -> None:
    assert token_weights(TOKENS_RC) == [1 / 20] * 3


def test_every_rollout_weighs_the_same() -> None:
    assert token_weights(TOKENS_RC, "rollout") == pytest.approx([1 / 12, 1 / 18, 1 / 30])


@pytest.mark.parametrize("weighting", ["token", "rollout"])
def test_shares_of_a_batch_weigh_what_they_weigh_in_the_whole(weighting: str) -> None:
    first, second = TOKENS_RC[:1], TOKENS_RC[1:]
    total = mass(first, weighting) + mass(second, weighting)  # type: ignore[arg-type]
    parts = [*token_weights(first, weighting, total), *token_weights(second, weighting, total)]  # type: ignore[arg-type]
    assert parts == token_weights(TOKENS_RC, weighting)  # type: ignore[arg-type]


def test_the_punishment_of_a_long_completion_is_soft() -> None:
    assert [overlong_penalty(tokens, 100, 20) for tokens in (50, 80, 85, 90, 100, 120)] == [0, 0, -0.25, -0.5, -1, -1]
    assert overlong_penalty(100, 100, 0) == 0


@given(REWARDS)
def test_advantages_add_up_to_nothing(rewards: list[float]) -> None:
    assert isclose(sum(advantages(rewards)), 0, abs_tol=1e-9)


@given(st.lists(st.lists(st.integers(1, 50), min_size=1, max_size=6), min_size=1, max_size=6))
def test_weights_add_up_to_one(tokens_RC: list[list[int]]) -> None:
    by_token = sum(weight * sum(tokens) for weight, tokens in zip(token_weights(tokens_RC), tokens_RC, strict=True))
    weights = token_weights(tokens_RC, "rollout")
    by_rollout = sum(weight * sum(tokens) for weight, tokens in zip(weights, tokens_RC, strict=True))
    assert isclose(by_token, 1, rel_tol=1e-9)
    assert isclose(by_rollout, 1, rel_tol=1e-9)
