"""Where a memory reader went wrong: fact by fact, never written, written and then lost, or held and not answered.

A memory holds a fact if it contains the fact's key (a number, a name, the answer) as a whole word, in any case. A fact
whose key stands in the question is not followed: a memory may hold the key and not the fact.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from memagent.bench.results import FAULTS, State, Tracked
from memagent.records import Trace
from memagent.tasks.example import Example, Fact


def track(example: Example, trace: Trace, solved: bool) -> tuple[Tracked, ...]:
    """What became of each fact of the example that can be followed. `solved`: the example has its full score."""
    facts = [fact for fact in example.facts if not _pattern(fact.key).search(example.question)]
    patterns = [_pattern(fact.key) for fact in facts]
    read: list[int | None] = [None] * len(facts)  # the step that read it
    held: list[int | None] = [None] * len(facts)  # the last step that held it
    steps = 0
    for turn in trace.memories:
        segment = turn.request.segment
        assert segment is not None
        steps += 1
        for number, fact in enumerate(facts):
            if read[number] is None and fact.end <= segment.end:
                read[number] = steps
            if read[number] is not None and patterns[number].search(turn.completion.text):
                held[number] = steps
    found = []
    for fact, pattern, step, last in zip(facts, patterns, read, held, strict=True):
        answered = solved or (fact.key in example.answers and pattern.search(trace.answer or "") is not None)
        state, lost_at = _state(answered, last, steps)
        found.append(Tracked(_depth(example, fact), step or steps, state, lost_at))
    return tuple(found)


def depths(example: Example) -> tuple[float, ...]:
    """Where each fact stands in the document, from 0 to 1."""
    return tuple(_depth(example, fact) for fact in example.facts)


def cause(facts: Sequence[Tracked]) -> State:
    """The earliest fault of an example that has not its full score."""
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


def _pattern(key: str) -> re.Pattern[str]:
    words = r"\s+".join(re.escape(word) for word in key.split())
    return re.compile(rf"(?<!\w){words}(?!\w)", re.IGNORECASE)
