from __future__ import annotations

from memagent.tasks.wonderland import QUESTIONS, is_right, text


def test_the_text_holds_the_answers_that_it_should() -> None:
    held = text()
    assert held.startswith("ALICE'S ADVENTURES IN WONDERLAND")
    assert held.count("CHAPTER") == 5
    assert all(answer is None or answer in held for answer in QUESTIONS.values())
    assert held.count("brother") == held.count("her brother's Latin Grammar") == 1  # so his name is not there


def test_an_answer_is_right_if_it_holds_the_word_or_rightly_abstains() -> None:
    assert is_right("hookah", "A long Hookah")
    assert not is_right("hookah", "The text does not say")
    assert is_right(None, "The text does not say")
    assert not is_right(None, "Dinah")
