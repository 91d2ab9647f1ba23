"""Waves: requests that may be completed at the same time, in any order."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from memagent.core.prompts import request
from memagent.core.reading import Underway
from memagent.core.records import Completion, Memory, Request
from memagent.errors import WindowOverflow


def asked(name: str) -> Request:
    return request("{name}?", {"name": name}, 8)


def two_waves() -> Generator[Request | tuple[Request, ...] | Memory, Any, str]:
    yield Memory("nothing")
    first = yield (asked("a"), asked("b"), asked("c"))
    yield Memory("".join(each.text for each in first))
    yield ()
    try:
        second = yield (asked("d"), asked("e"))
    except WindowOverflow:
        return str((yield asked("less")).text)
    return "".join(each.text for each in second)


def test_a_wave_is_sent_as_it_was_asked_whatever_the_order_of_its_completions() -> None:
    under = Underway(two_waves())
    assert (under.memory, sorted(under.wanted)) == ("nothing", [0, 1, 2])
    turns = [under.take(Completion(text), place) for text, place in (("3", 2), ("1", 0), ("2", 1))]
    assert [(turn.index, turn.wave, turn.place, turn.memory) for turn in turns] == [
        (0, 0, 2, "nothing"),
        (1, 0, 0, "nothing"),
        (2, 0, 1, "123"),
    ]
    assert [each.messages[0].content for each in under.wanted.values()] == ["d?", "e?"]
    last = [under.take(Completion(text), place) for text, place in (("5", 1), ("4", 0))]
    assert [(turn.index, turn.wave) for turn in last] == [(3, 1), (4, 1)]
    assert (under.wanted, under.answer) == ({}, "45")


def test_an_overflow_reaches_the_reading_when_the_rest_of_its_wave_is_complete() -> None:
    under = Underway(two_waves())
    for place in (0, 1, 2):
        under.take(Completion("x"), place)
    under.overflow(WindowOverflow(), 0)
    assert list(under.wanted) == [1]
    under.take(Completion("paid for"), 1)
    assert under.wanted[0].messages[0].content == "less?"
    under.take(Completion("short"))
    assert under.answer == "short"


def test_an_overflow_that_the_reading_does_not_expect_ends_it() -> None:
    under = Underway(two_waves())
    for place in (0, 1):
        under.take(Completion("x"), place)
    with pytest.raises(WindowOverflow):
        under.overflow(WindowOverflow(), 2)


def test_a_field_may_hold_what_looks_like_another() -> None:
    found = request("{memory} {chunk} {}", {"memory": "{chunk}", "chunk": "{memory}"}, 8)
    assert found.messages[0].content == "{chunk} {memory} {}"
