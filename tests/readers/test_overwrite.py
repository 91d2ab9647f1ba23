from __future__ import annotations

import pytest

from memagent.core.budget import Budget
from memagent.core.prompts import NO_MEMORY, Prompts
from memagent.core.records import Completion, Request, Segment
from memagent.errors import WindowOverflow
from memagent.readers.overwrite import reading

PROMPTS = Prompts(update="Q={prompt} M={memory} S={chunk}", answer="Q={prompt} M={memory}")
BUDGET = Budget(question=5, segment=10, memory=20, answer=30)


def pieces(*texts: str) -> list[Segment]:
    found, place = [], 0
    for text in texts:
        found.append(Segment(place, place + len(text), text, len(text)))
        place += len(text)
    return found


def content(request: Request) -> str:
    [message] = request.messages
    assert message.role == "user"
    return message.content


def test_each_step_sees_question_memory_and_one_segment_and_overwrites_the_memory() -> None:
    steps = reading("why", pieces("one", "two"), BUDGET, PROMPTS)
    first = next(steps)
    assert content(first) == f"Q=why M={NO_MEMORY} S=one"
    assert (first.max_tokens, first.segment) == (20, Segment(0, 3, "one", 3))
    second = steps.send(Completion("m1"))
    assert content(second) == "Q=why M=m1 S=two"
    last = steps.send(Completion("m2", "length"))
    assert content(last) == "Q=why M=m2"
    assert (last.max_tokens, last.segment) == (30, None)
    with pytest.raises(StopIteration) as stop:
        steps.send(Completion("because"))
    assert stop.value.value == "because"


def test_an_empty_document_is_answered_from_no_memory() -> None:
    assert content(next(reading("why", [], BUDGET, PROMPTS))) == f"Q=why M={NO_MEMORY}"


def test_segments_are_taken_one_at_a_time() -> None:
    source = iter(pieces("one", "two", "three"))
    steps = reading("why", source, BUDGET, PROMPTS)
    next(steps)
    assert next(source).text == "two"


def test_a_segment_that_overflows_is_read_as_halves() -> None:
    steps = reading("why", pieces("aaaa bbbb cccc dddd", "end"), BUDGET, PROMPTS)
    next(steps)
    half = steps.throw(WindowOverflow())
    assert half.segment == Segment(0, 9, "aaaa bbbb", 9, rest=(19,))
    quarter = steps.throw(WindowOverflow())  # the half is still too long
    assert content(quarter).endswith(" S=aaaa")
    rest = steps.send(Completion("m1"))
    assert content(rest) == "Q=why M=m1 S= bbbb"
    other = steps.send(Completion("m2"))
    assert content(other) == "Q=why M=m2 S= cccc dddd"
    assert content(steps.send(Completion("m3"))) == "Q=why M=m3 S=end"


def test_an_overflow_that_no_halving_cures_ends_the_reading() -> None:
    steps = reading("why", pieces("ab"), BUDGET, PROMPTS)
    next(steps)
    assert steps.throw(WindowOverflow()).segment == Segment(0, 1, "a", 1, rest=(2,))
    with pytest.raises(WindowOverflow):
        steps.throw(WindowOverflow())


def test_an_overflow_of_the_answer_ends_the_reading() -> None:
    steps = reading("why", [], BUDGET, PROMPTS)
    next(steps)
    with pytest.raises(WindowOverflow):
        steps.throw(WindowOverflow())
