"""Warnings, one sentence each: what a reading failed to read or keep, and why its answer may be wrong."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from memagent.core.prompts import NO_CHANGE, NO_MEMORY, NOTHING
from memagent.core.records import Trace
from memagent.readers.gated import changes_nothing

_NAMED = 5  # most segments that are named by number
_WORD = re.compile(r"\w+")
_THOUSANDS = re.compile(r"(?<=\d)[,\u00a0\u202f](?=\d{3}(?!\d))")
_VERDICTS = {"yes", "no", "true", "false"}
_ABSTAINS = re.compile(r"\b(?:not|no|nothing|unknown|unanswerable|cannot)\b|n['’]t\b", re.IGNORECASE)
_ENOUGH = 0.5  # least share of the answer's words that must be in the memory


def losses(trace: Trace, segments: Sequence[int]) -> list[str]:
    """Return one sentence for each kind of loss in a reading's turns, and in its answer once there is one.

    Args:
        segments: the trace's segments.
    """
    halved, unanswered, cut = dict[int, None](), dict[int, None](), dict[int, None]()
    more = dict[int, None]()  # segments to which the model replied NO CHANGE and other text
    merges = 0  # number of merges that were cut
    for number, turn in zip(segments, trace.memories, strict=True):
        segment = turn.request.segment
        if segment and segment.whole:
            halved[number] = None
        if turn.request.segment and not turn.completion.text.strip():
            unanswered[number] = None
        elif turn.completion.finish == "length" and segment:
            cut[number] = None
        elif turn.completion.finish == "length":
            merges += turn.request.kind == "merge"
        if segment and turn.memory == turn.request.memory and _says_more(turn.completion.text):
            more[number] = None
    found = []
    if halved:
        found.append(f"{_sections(halved)} did not fit the model's context window and had to be read in halves.")
    if unanswered:
        found.append(f"The model gave an empty reply to {_sections(unanswered).lower()}; the memory stayed as it was.")
    if cut:
        found.append(f"The reply to {_sections(cut).lower()} was cut by --memory-tokens, so facts may be missing.")
    if more:
        found.append(
            f"The model replied NO CHANGE to {_sections(more).lower()} but also wrote other text, which was not kept."
        )
    if merges:
        times = "once" if merges == 1 else f"{merges:,} times"
        found.append(f"Merged notes were cut {times} by --memory-tokens, so facts may be missing.")
    if trace.answer is not None:
        if trace.turns[-1].completion.finish == "length":
            found.append("The answer was cut by --answer-tokens.")
        if not trace.answer.strip():
            found.append("The model gave an empty answer.")
    return found


def unread(read: int, characters: int) -> list[str]:
    """Return a sentence about what was not read, if `read` is fewer than all `characters` of the document."""
    left = characters - read
    if left <= 0:
        return []
    return [f"{left:,} of {characters:,} characters ({left / characters:.1%}) were not read: the reader stopped early."]


def doubts(answer: str, memory: str, cited: bool) -> list[str]:
    """Return reasons to doubt an answer: nothing in the document, or in the memory, supports it."""
    if not answer.strip():
        return []
    if memory.strip() in ("", NO_MEMORY, NOTHING):
        said = _ABSTAINS.search(answer) and NO_MEMORY not in answer
        return [] if said else ["The memory is empty, so the answer is not based on the document."]
    found = []
    if not cited:
        found.append("No passage in the document was found to support this answer: check it yourself.")
    if not _in_memory(answer, memory):
        found.append("The words of the answer are not in the memory: check the answer yourself.")
    return found


def _says_more(reply: str) -> bool:
    return changes_nothing(reply) and len(_WORD.findall(reply)) > len(NO_CHANGE.split()) + 2  # 2: "Updated memory"


def _in_memory(answer: str, memory: str) -> bool:
    words = _words(answer)
    if not words or words <= _VERDICTS or _ABSTAINS.search(answer):
        return True
    return len(words & _words(memory)) >= _ENOUGH * len(words)


def _words(text: str) -> set[str]:
    return set(_WORD.findall(_THOUSANDS.sub("", text.lower())))


def _sections(numbers: Iterable[int]) -> str:
    """Name segments by number, from 1, or by their count if there are many."""
    each: Sequence[str] = [f"{number + 1:,}" for number in numbers]
    if len(each) == 1:
        return f"Segment {each[0]}"
    if len(each) > _NAMED:
        return f"{len(each):,} segments"
    return f"Segments {', '.join(each[:-1])} and {each[-1]}"
