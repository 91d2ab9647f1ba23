r"""The answer inside a completion: what stands in \boxed{}, or after "the answer is"."""

from __future__ import annotations

import re

from memagent.prompts import AnswerStyle

_SENTENCE = re.compile(r"the answer is:?\s*", re.IGNORECASE)
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_FULL_STOP = re.compile(r"(?<!\.[A-Z])\.$")  # but the one of "U.S."
_PARENTHESES = re.compile(r"\(([^()]*)\)")


def final_answer(text: str, style: AnswerStyle = "boxed") -> str:
    """The answer in a completion; the whole completion, stripped, where the model did not keep to the format."""
    found = boxed(text) if style == "boxed" else after_sentence(text)
    return text.strip() if found is None else found


def boxed(text: str) -> str | None:
    r"""The content of the last \boxed{…} that is closed, braces balanced; None when there is none."""
    end = len(text)
    while (start := text.rfind("\\boxed{", 0, end)) >= 0:
        content = _balanced(text, start + len("\\boxed{"))
        if content is not None:
            return content.strip()
        end = start
    return None


def _balanced(text: str, start: int) -> str | None:
    """What stands before the brace that closes the one before `start`; an escaped brace counts for nothing."""
    depth = 1
    for brace in _BRACE.finditer(text, start):
        depth += {"{": 1, "}": -1}.get(brace[0], 0)
        if depth == 0:
            return text[start : brace.start()]
    return None


def after_sentence(text: str) -> str | None:
    """What follows the last "the answer is", to the end of its line; None when nothing does."""
    matches = list(_SENTENCE.finditer(text))
    if not matches:
        return None
    rest = _FULL_STOP.sub("", text[matches[-1].end() :].split("\n", 1)[0].strip())
    if whole := _PARENTHESES.fullmatch(rest):
        rest = whole[1]
    return rest.strip() or None
