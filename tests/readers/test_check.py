"""A check interprets every reply: the replies that it asked for, and all others."""

from __future__ import annotations

import pytest

from memagent.core.budget import Budget
from memagent.core.prompts import NOTHING, Prompts, prompts_for
from memagent.core.records import Completion
from memagent.readers.check import Checking, Verdict, check, try_answer


def verdict(checking: Checking, reply: str) -> Verdict:
    next(checking)
    try:
        checking.send(Completion(reply))
    except StopIteration as stop:
        found: Verdict = stop.value
        return found
    raise AssertionError("A check asks once.")


@pytest.mark.parametrize(
    ("reply", "enough", "query"),
    [
        ("YES", True, ""),
        ("Yes.", True, ""),
        ("**YES** The memory names both.", True, ""),
        ("NO: the key of the keeper", False, "the key of the keeper"),
        ("No, search for\nthe compass", False, "search for\nthe compass"),
        ("NO", False, ""),
        ("NO — ", False, ""),
        ("perhaps", False, ""),
        ("Nobody knows.", False, ""),
        ("yesterday", False, ""),
        ("", False, ""),
    ],
)
def test_a_reply_that_is_neither_yes_nor_no_counts_as_no_without_words(reply: str, enough: bool, query: str) -> None:
    assert verdict(check("why", "m", Budget(), Prompts()), reply) == Verdict(enough, query, query)


def test_a_check_shows_question_and_memory_and_may_be_short() -> None:
    asked = next(check("why so", "the memory", Budget(), Prompts()))
    assert asked.kind == "check"
    assert "<problem> \nwhy so\n</problem>" in asked.messages[0].content
    assert "<memory>\nthe memory\n</memory>" in asked.messages[0].content
    assert asked.max_tokens == Budget().answer  # some models think before they say a word


@pytest.mark.parametrize(
    ("reply", "enough"),
    [
        ("\\boxed{17}", True),
        ("\\boxed{No, he never went to Rome}", True),
        ("\\boxed{Nothing but a compass}", True),
        ("\\boxed{The text does not say}", False),
        ("\\boxed{The text doesn’t say.}", False),
        ("It is not mentioned.", False),
        ("\\boxed{unknown}", False),
        ("\\boxed{No relevant information.}", False),
        ("\\boxed{}", False),
        ("  ", False),
    ],
)
def test_an_answer_is_enough_unless_it_abstains(reply: str, enough: bool) -> None:
    assert verdict(try_answer("why", "m", Budget(), prompts_for()), reply) == Verdict(enough, "why\nm")


def test_an_empty_memory_is_never_enough_and_nobody_is_asked() -> None:
    with pytest.raises(StopIteration) as stop:
        next(try_answer("why", NOTHING, Budget(), prompts_for()))
    assert stop.value.value == Verdict(query="why")
