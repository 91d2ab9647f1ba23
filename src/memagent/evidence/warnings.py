"""Say, a sentence each, what a reading lost: what was not read, and what was not kept as it should be."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from memagent.core.prompts import NO_MEMORY, NOTHING
from memagent.core.records import Trace

_NAMED = 5  # sections that are named by their numbers
_WORD = re.compile(r"\w+")
_THOUSANDS = re.compile(r"(?<=\d)[,\u00a0\u202f](?=\d{3}(?!\d))")
_VERDICTS = {"yes", "no", "true", "false"}
_ABSTAINS = re.compile(r"\b(?:not|no|nothing|unknown|unanswerable|cannot)\b|n['’]t\b", re.IGNORECASE)
_ENOUGH = 0.5  # of the answer's words must be in the memory


def losses(trace: Trace) -> list[str]:
    """What its turns lost, in the order of the document; of a finished reading, the answer too."""
    halved, unanswered, cut = dict[int, None](), dict[int, None](), dict[int, None]()
    for number, turn in zip(trace.segments, trace.memories, strict=True):
        segment = turn.request.segment
        if segment and segment.whole:
            halved[number] = None
        if turn.request.segment and not turn.completion.text.strip():
            unanswered[number] = None
        elif turn.completion.finish == "length":
            cut[number] = None
    found = []
    if halved:
        found.append(f"{_sections(halved)} did not fit the model's context window and had to be read in halves.")
    if unanswered:
        found.append(f"The model replied with nothing to {_sections(unanswered).lower()}; the memory was kept.")
    if cut:
        found.append(f"The reply to {_sections(cut).lower()} was cut by --memory-tokens, so facts may be missing.")
    if trace.answer is not None:
        if trace.turns[-1].completion.finish == "length":
            found.append("The answer was cut by --answer-tokens.")
        if not trace.answer.strip():
            found.append("The model gave an empty answer.")
    return found


def doubts(answer: str, memory: str, cited: bool) -> list[str]:
    """Why an answer should be taken with care: nothing in the document, or in the memory, supports it."""
    if not answer.strip():
        return []
    if memory.strip() in ("", NO_MEMORY, NOTHING):
        said = _ABSTAINS.search(answer) and NO_MEMORY not in answer
        return [] if said else ["The memory is empty: the answer does not rest on the document."]
    found = []
    if not cited:
        found.append("No passage of the document was found for this answer: take it with care.")
    if not _in_memory(answer, memory):
        found.append("The words of the answer are not in the memory: take it with care.")
    return found


def _in_memory(answer: str, memory: str) -> bool:
    words = _words(answer)
    if not words or words <= _VERDICTS or _ABSTAINS.search(answer):
        return True
    return len(words & _words(memory)) >= _ENOUGH * len(words)


def _words(text: str) -> set[str]:
    return set(_WORD.findall(_THOUSANDS.sub("", text.lower())))


def _sections(numbers: Iterable[int]) -> str:
    """Sections by their numbers, from 1, or how many where they are many."""
    each: Sequence[str] = [f"{number + 1:,}" for number in numbers]
    if len(each) == 1:
        return f"Section {each[0]}"
    if len(each) > _NAMED:
        return f"{len(each):,} sections"
    return f"Sections {', '.join(each[:-1])} and {each[-1]}"
