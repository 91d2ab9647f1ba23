from __future__ import annotations

import pytest

from memagent.core.budget import Budget
from memagent.errors import BudgetError


def test_the_papers_budget_fits_an_8k_window() -> None:
    Budget().check(question=20, update=140, answer=90, window=8192)


def test_the_window_may_be_filled_to_the_last_token() -> None:
    budget = Budget(segment=500, memory=100, answer=50)
    budget.check(question=10, update=60, answer=40, window=760)
    with pytest.raises(BudgetError, match="is 1 tokens larger than the model's window of 759"):
        budget.check(question=10, update=60, answer=40, window=759)


def test_the_answer_step_is_checked_too() -> None:
    with pytest.raises(BudgetError, match=r"is 40 tokens larger .* 1,000 for the answer"):
        Budget(segment=10, memory=100, answer=1000).check(question=10, update=60, answer=40, window=1100)


def test_a_long_question_is_an_error_that_says_by_how_much() -> None:
    with pytest.raises(BudgetError, match="1,500 tokens, 476 more than its budget of 1,024"):
        Budget().check(question=1500, update=1600, answer=1600, window=None)


def test_nothing_is_checked_against_an_unknown_window() -> None:
    Budget(segment=10**9).check(question=10, update=60, answer=40, window=None)


@pytest.mark.parametrize("name", ["question", "segment", "memory", "answer"])
def test_a_budget_is_at_least_one_token(name: str) -> None:
    with pytest.raises(BudgetError, match=f"The {name} budget is 0 tokens"):
        Budget(**{name: 0})
