from __future__ import annotations

from hashlib import sha256

from memagent.core.prompts import (
    ANSWER_BOXED,
    ANSWER_SENTENCE,
    UPDATE,
    UPDATE_SECTION_FIRST,
    fill,
    prompts_for,
)


def test_the_papers_templates_are_byte_for_byte() -> None:
    # sha256 of the templates that the released weights were trained on
    assert {sha256(template.encode()).hexdigest() for template in (UPDATE, ANSWER_BOXED, ANSWER_SENTENCE)} == {
        "49fa58187bb7d23e58b08ed1a15732c71008196a1f633be2b4a3be507ee366b3",
        "64632c4a5ae63b70e018366632a44d6a4ac7cb62cef4f977bf8afa30eb0a6622",
        "76c0395b111bb18000345701c14ceaafc8a9776fb76577676df0c15274d1235e",
    }


def test_fill_leaves_placeholders_in_the_fields_alone() -> None:
    assert fill("<{prompt}|{memory}>", prompt="{memory}", memory="{chunk} \\boxed{}") == "<{memory}|{chunk} \\boxed{}>"


def test_section_first_shares_everything_before_the_problem() -> None:
    one = fill(UPDATE_SECTION_FIRST, prompt="one", memory="a", chunk="the section")
    two = fill(UPDATE_SECTION_FIRST, prompt="two", memory="b", chunk="the section")
    assert one[: one.index("<problem>")] == two[: two.index("<problem>")]
    assert "the section" in one[: one.index("<problem>")]


def test_each_layout_and_answer_has_its_templates() -> None:
    assert prompts_for().update == UPDATE
    assert prompts_for("section-first", "sentence").update == UPDATE_SECTION_FIRST
    assert prompts_for("section-first", "sentence").answer == ANSWER_SENTENCE
    assert prompts_for("paper", "boxed").answer == ANSWER_BOXED
