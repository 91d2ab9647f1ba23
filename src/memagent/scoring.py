r"""The answer inside a completion: what stands in \boxed{}, or after "the answer is"."""

from __future__ import annotations

import re

from memagent.prompts import AnswerStyle

_SENTENCE = re.compile(r"the answer is:?\s*", re.IGNORECASE)


def final_answer(text: str, style: AnswerStyle = "boxed") -> str:
    """The answer in a completion; the whole completion, stripped, where the model did not keep to the format."""
    found = boxed(text) if style == "boxed" else after_sentence(text)
    return text.strip() if found is None else found


def boxed(text: str) -> str | None:
    r"""The content of the last \boxed{…}, braces balanced; None when there is none."""
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    start += len("\\boxed{")
    depth = 1
    for place in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return text[start:place].strip()
    return None


def after_sentence(text: str) -> str | None:
    """What follows the last "the answer is", to the end of its line; None when nothing does."""
    matches = list(_SENTENCE.finditer(text))
    if not matches:
        return None
    rest = text[matches[-1].end() :].split("\n", 1)[0].strip()
    if rest.startswith("(") and rest.rstrip(".").endswith(")"):
        rest = rest.rstrip(".")[1:-1]
    return rest.removesuffix(".").strip() or None
