from __future__ import annotations

import pytest
from wanted import wanted

from memagent.core.budget import Budget
from memagent.core.prompts import NO_MEMORY, Prompts
from memagent.core.reading import Underway
from memagent.core.records import Completion, Request, Segment
from memagent.errors import WindowOverflow
from memagent.readers.overwrite import overwrite

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
    under = Underway(overwrite("why", pieces("one", "two"), BUDGET, PROMPTS))
    first = wanted(under)
    assert content(first) == f"Q=why M={NO_MEMORY} S=one"
    assert (first.kind, first.max_tokens, first.segment) == ("memorize", 20, Segment(0, 3, "one", 3))
    assert under.take(Completion("m1")).memory == "m1"
    assert content(wanted(under)) == "Q=why M=m1 S=two"
    assert under.take(Completion("m2", "length")).memory == "m2"
    last = wanted(under)
    assert content(last) == "Q=why M=m2"
    assert (last.kind, last.max_tokens, last.segment) == ("answer", 30, None)
    assert under.take(Completion("because")).memory == "m2"
    assert (under.wanted, under.answer) == ({}, "because")


def test_an_empty_reply_leaves_the_memory_as_it_was() -> None:
    under = Underway(overwrite("why", pieces("one", "two"), BUDGET, PROMPTS))
    assert [under.take(Completion(text)).memory for text in ("m1", " \n")] == ["m1", "m1"]


def test_an_empty_document_is_answered_from_no_memory() -> None:
    assert content(wanted(Underway(overwrite("why", [], BUDGET, PROMPTS)))) == f"Q=why M={NO_MEMORY}"


def test_segments_are_taken_one_at_a_time() -> None:
    source = iter(pieces("one", "two", "three"))
    next(overwrite("why", source, BUDGET, PROMPTS))
    assert next(source).text == "two"


def test_a_segment_that_overflows_is_read_as_halves() -> None:
    under = Underway(overwrite("why", pieces("aaaa bbbb cccc dddd", "end"), BUDGET, PROMPTS))
    under.overflow(WindowOverflow())
    assert wanted(under).segment == Segment(0, 9, "aaaa bbbb", 9, whole=(0, 19))
    under.overflow(WindowOverflow())  # the half is still too long
    assert wanted(under).segment == Segment(0, 4, "aaaa", 4, whole=(0, 19))
    shown = []
    for text in ("m1", "m2", "m3"):
        under.take(Completion(text))
        shown.append(content(wanted(under)))
    assert shown == ["Q=why M=m1 S= bbbb", "Q=why M=m2 S= cccc dddd", "Q=why M=m3 S=end"]


def test_an_overflow_that_no_halving_cures_ends_the_reading() -> None:
    under = Underway(overwrite("why", pieces("ab"), BUDGET, PROMPTS))
    under.overflow(WindowOverflow())
    assert wanted(under).segment == Segment(0, 1, "a", 1, whole=(0, 2))
    with pytest.raises(WindowOverflow):
        under.overflow(WindowOverflow())


def test_an_overflow_of_the_answer_ends_the_reading() -> None:
    under = Underway(overwrite("why", [], BUDGET, PROMPTS))
    with pytest.raises(WindowOverflow):
        under.overflow(WindowOverflow())
