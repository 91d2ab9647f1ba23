from __future__ import annotations

import pytest
from keeper import pieces
from wanted import wanted

from memagent.core.budget import Budget
from memagent.core.prompts import GATE, NO_MEMORY, Prompts, prompts_for
from memagent.core.reading import Underway
from memagent.core.records import Completion
from memagent.readers.gated import gated

BUDGET = Budget(question=5, segment=10, memory=20, answer=30)


@pytest.mark.parametrize(
    "reply",
    [
        *("NO CHANGE", "no change.", "**No change**", "NO_CHANGE", "No changes.", "NO CHANGE: it is about the sea."),
        *("", " \n", "Updated memory: NO CHANGE", "<memory>\nNO CHANGE\n</memory>"),
        *("The section adds nothing.\n\nNO CHANGE", "NO CHANGE\nThe keeper hid key 17."),
    ],
)
def test_no_change_leaves_the_memory_as_it_was(reply: str) -> None:
    under = Underway(gated("why", pieces("one", "two"), BUDGET, Prompts()))
    assert under.take(Completion("m1")).memory == "m1"
    assert under.take(Completion(reply)).memory == "m1"


@pytest.mark.parametrize(
    "reply", ["No change was made to the will.", "m1. NO CHANGE", "Nothing new.", "There was no change\nof plan."]
)
def test_any_other_reply_is_the_next_memory(reply: str) -> None:
    under = Underway(gated("why", pieces("one", "two"), BUDGET, Prompts()))
    under.take(Completion("m1"))
    assert under.take(Completion(reply)).memory == reply


@pytest.mark.parametrize("layout", ["paper", "section-first"])
def test_the_gate_stands_before_the_last_line_of_the_prompt(layout: str) -> None:
    prompts = prompts_for(layout)
    prompt = wanted(Underway(gated("why", pieces("one"), BUDGET, prompts))).messages[0].content
    assert prompt.endswith(f"\n\n{GATE}\n\nUpdated memory:\n")
    assert prompt.replace(f"{GATE}\n\n", "") == (
        prompts.update.replace("{prompt}", "why").replace("{memory}", NO_MEMORY).replace("{chunk}", "one")
    )


def test_a_template_of_ones_own_gets_the_gate_at_its_end_or_not_at_all() -> None:
    own = "{prompt} {memory} {chunk} >"
    assert Prompts(update=own).gated == f"{own} {GATE}"
    assert Prompts(update=own, gate="").gated == own
