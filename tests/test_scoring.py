from __future__ import annotations

import pytest

from memagent.scoring import after_sentence, boxed, final_answer


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (r"So \boxed{42}.", "42"),
        (r"\boxed{1} no, \boxed{ \frac{1}{2} }", r"\frac{1}{2}"),
        (r"\boxed{}", ""),
        (r"\boxed{never closed", None),
        ("42", None),
    ],
)
def test_boxed_is_the_last_balanced_box(text: str, found: str | None) -> None:
    assert boxed(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Therefore, the answer is (Paris).", "Paris"),
        ("The answer is: 3.5 km.\nMore.", "3.5 km"),
        ("the answer is no. Therefore, the answer is yes", "yes"),
        ("the answer is ", None),
        ("Paris", None),
    ],
)
def test_the_answer_after_its_sentence(text: str, found: str | None) -> None:
    assert after_sentence(text) == found


def test_a_completion_that_keeps_to_no_format_is_the_answer() -> None:
    assert final_answer(" Paris \n") == "Paris"
    assert final_answer("Therefore, the answer is (Rome).", "sentence") == "Rome"
    assert final_answer(r"\boxed{Rome}", "boxed") == "Rome"
