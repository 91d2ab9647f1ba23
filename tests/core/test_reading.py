"""Waves: requests that may be completed at the same time, in any order."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from memagent.core.prompts import request
from memagent.core.reading import Reading, Underway, WaveOverflow, together
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


def test_the_other_completions_of_a_wave_with_an_overflow_are_not_lost() -> None:
    def careful() -> Generator[Request | tuple[Request, ...] | Memory, Any, str]:
        with pytest.raises(WaveOverflow, match="b is too long") as told:
            yield (asked("a"), asked("b"), asked("c"))
        return "".join(each.text if each else "-" for each in told.value.completions)

    under = Underway(careful())
    under.take(Completion("C"), 2)
    under.overflow(WindowOverflow("b is too long"), 1)
    under.take(Completion("A"), 0)
    assert under.answer == "A-C"


def part(name: str) -> Generator[Request | tuple[Request, ...] | Memory, Any, str]:
    """Ask twice; if the first request does not fit, ask for two things at the same time."""
    try:
        first = (yield asked(name)).text
    except WindowOverflow:
        return "+".join(each.text for each in (yield (asked(f"{name}1"), asked(f"{name}2"))))
    yield Memory("of a part")
    return f"{first}{(yield asked(f'{name} again')).text}"


def test_parts_advance_together_and_each_gets_its_own_overflow() -> None:
    under = Underway(whole([part("a"), part("b"), nothing()]))
    assert waiting(under) == ["a?", "b?"]
    under.overflow(WindowOverflow("too long"), 1)
    under.take(Completion("A"), 0)
    assert waiting(under) == ["a again?", "b1?", "b2?"]
    for text, place in (("y", 2), ("!", 0), ("x", 1)):
        under.take(Completion(text), place)
    assert under.answer == "A! x+y at once"
    assert under.memory == ""


def whole(parts: list[Reading]) -> Generator[Request | tuple[Request, ...] | Memory, Any, str]:
    return " ".join((yield from together(parts)))


def nothing() -> Generator[Request | tuple[Request, ...] | Memory, Any, str]:
    yield Memory("nothing to ask")
    return "at once"


def waiting(under: Underway) -> list[str]:
    return [request.messages[0].content for request in under.wanted.values()]


def test_no_parts_are_no_wave() -> None:
    assert Underway(whole([])).answer == ""


def test_an_overflow_that_a_part_does_not_expect_ends_the_reading() -> None:
    def helpless() -> Generator[Request | tuple[Request, ...] | Memory, Any, str]:
        return str((yield asked("h")).text)

    under = Underway(whole([part("a"), helpless()]))
    under.take(Completion("A"), 0)
    with pytest.raises(WindowOverflow, match="h is too long"):
        under.overflow(WindowOverflow("h is too long"), 1)


def test_a_field_may_hold_what_looks_like_another() -> None:
    found = request("{memory} {chunk} {}", {"memory": "{chunk}", "chunk": "{memory}"}, 8)
    assert found.messages[0].content == "{chunk} {memory} {}"
