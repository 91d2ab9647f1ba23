"""Chapters I to V of Alice's Adventures in Wonderland (Lewis Carroll, 1865, in the public domain), and three questions.

No policy of ours was trained on this text.
"""

from __future__ import annotations

from importlib.resources import files

from memagent.core.scoring import abstains

QUESTIONS = {
    "What is the name of Alice's cat?": "Dinah",
    "What was the Caterpillar smoking?": "hookah",
    "What is the name of Alice's brother?": None,
}
"""The questions, each with the word that a right answer contains, or None if the text has no answer."""


def text() -> str:
    return (files("memagent.tasks") / "wonderland.txt").read_text(encoding="utf-8")


def is_right(expected: str | None, answer: str) -> bool:
    """Whether an answer contains the expected word or, if there is none, says that the text does not answer."""
    return expected.lower() in answer.lower() if expected else abstains(answer, []) == 1
