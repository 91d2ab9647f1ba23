"""Finds where a memory reader went wrong: a fact was never written, written and then lost, or held but not answered.

A memory holds a fact if it contains the fact's key (a number, a name, the answer) as a whole word, in any case. A fact
whose key is in the question is not tracked, because a memory can contain the key without the fact.
"""

from __future__ import annotations

from collections.abc import Sequence

from memagent.bench.results import FAULTS, State, Tracked
from memagent.core.records import Trace
from memagent.core.scoring import find_words
from memagent.tasks.example import Example, Fact


def track(example: Example, trace: Trace, answer: str, solved: bool) -> tuple[Tracked, ...]:
    """Return the fate of each fact of the example that can be tracked.

    Args:
        answer: text that was scored.
        solved: whether the example has its full score.
    """
    facts = [fact for fact in example.facts if not find_words(example.question, fact.key)]
    read: list[int | None] = [None] * len(facts)  # the step that read each fact
    held: list[int | None] = [None] * len(facts)  # the last step that held each fact
    steps = 0
    for turn in trace.memories:
        segment = turn.request.segment
        steps += 1
        for number, fact in enumerate(facts):
            if read[number] is None and segment and segment.start < fact.end <= segment.end:
                read[number] = steps
            if read[number] is not None and find_words(turn.memory, fact.key):
                held[number] = steps
    found = []
    for fact, step, last in zip(facts, read, held, strict=True):
        answered = solved or (fact.key in example.answers and find_words(answer, fact.key) is not None)
        state, lost_at = _state(answered, last, steps)
        found.append(Tracked(_depth(example, fact), step or steps, state, lost_at))
    return tuple(found)


def depths(example: Example) -> tuple[float, ...]:
    """Return the position of each fact in the document, from 0 to 1."""
    return tuple(_depth(example, fact) for fact in example.facts)


def cause(facts: Sequence[Tracked]) -> State:
    """Return the earliest fault of an example that does not have its full score."""
    states = {fact.state for fact in facts}
    return next((fault for fault in FAULTS if fault in states), FAULTS[-1])


def _state(answered: bool, last: int | None, steps: int) -> tuple[State, int | None]:
    if answered:
        return "answered", None
    if last is None:
        return "never written", None
    return ("not answered", None) if last == steps else ("lost", last + 1)


def _depth(example: Example, fact: Fact) -> float:
    return round(fact.start / max(len(example.document), 1), 4)
