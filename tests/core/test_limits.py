from __future__ import annotations

import pytest

from memagent.core.limits import Limits, Price
from memagent.core.records import Usage
from memagent.errors import LimitReached, UsageError


def test_tokens_may_reach_the_limit_but_not_pass_it() -> None:
    limits = Limits(max_tokens=100)
    limits.check(Usage(50, 10), Usage(30, 10))
    with pytest.raises(LimitReached, match="Stopped at 60 tokens"):
        limits.check(Usage(50, 10), Usage(30, 11))


def test_cost_counts_prompt_and_completion_by_their_prices() -> None:
    price = Price(1.0, 10.0)
    assert price.of(Usage(1_000_000, 200_000)) == 3.0
    limits = Limits(max_cost=3.0, price=price)
    limits.check(Usage(500_000, 100_000), Usage(500_000, 100_000))
    with pytest.raises(LimitReached, match=r"cost of 1\.5000"):
        limits.check(Usage(500_000, 100_000), Usage(500_001, 100_000))


def test_a_cost_limit_needs_prices() -> None:
    with pytest.raises(UsageError, match="--price"):
        Limits(max_cost=1.0)
