"""Reasoning is removed from the front of a reply, and nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memagent.models.reasoning import may_be_reasoning, without_reasoning


@pytest.mark.parametrize(
    "reply",
    [
        "<think>hm</think>\n\nThe code is 7.",
        "<THINK>hm</THINK>The code is 7.",
        "<thinking>hm\n</thinking>\nThe code is 7.",
        "<reasoning>hm</reasoning> The code is 7.",
        "<seed:think>hm</seed:think>The code is 7.",
        "[THINK]hm[/THINK]The code is 7.",
        "◁think▷hm◁/think▷The code is 7.",
        "<|begin_of_thought|>hm<|end_of_thought|>\n<|begin_of_solution|>The code is 7.<|end_of_solution|>",
        "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>The code is 7.<|return|>",
        "analysishm, 7?assistantfinalThe code is 7.",
        "hm, 7?</think>\n\nThe code is 7.",
        "hm, 7?\n</Thinking>\nThe code is 7.",
    ],
)
def test_wrappers_of_current_models(reply: str) -> None:
    assert without_reasoning(reply) == ("The code is 7.", True)
    assert all(may_be_reasoning(reply[:length]) for length in range(3)) or reply.startswith("hm")


@pytest.mark.parametrize(
    "reply",
    [
        "The manual says the tag </think> ends a block. The code is 77.",
        "Say <think>hm</think> or not.",
        "It ends with </think> and goes on.\nThe code is 77.",
        "analysis of the code: 77",
        "Analysis: the code is 77.",
        "[thinking] the code is 77",
        "<thin ice>",
        "a < b",
    ],
)
def test_a_reply_that_mentions_a_tag_loses_nothing(reply: str) -> None:
    assert without_reasoning(reply) == (reply, False)


@pytest.mark.parametrize("reply", ["<think>hm, the code", "[THINK]hm", "<|channel|>analysis<|message|>hm"])
def test_reasoning_that_never_ends_leaves_no_text(reply: str) -> None:
    assert without_reasoning(reply) == ("", True)


@pytest.mark.parametrize("end", ["<|im_end|>", "</s>", " <|eot_id|>\n", "<|end|><|return|>"])
def test_special_tokens_at_the_end_are_taken_off(end: str) -> None:
    assert without_reasoning(f"The code is 7.{end}") == ("The code is 7.", False)


@given(st.text("<>/think analysis[]|\n</think>", max_size=60))
def test_what_is_left_was_in_the_reply(reply: str) -> None:
    text, reasoned = without_reasoning(reply)
    assert text in reply
    assert reasoned or reply.startswith(text)
