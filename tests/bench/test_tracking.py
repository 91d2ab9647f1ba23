from __future__ import annotations

import pytest
from turns import finished, memorized

from memagent import Segment, Trace
from memagent.bench.results import Tracked
from memagent.bench.tracking import cause, depths, track
from memagent.tasks.example import Example, Fact

DOCUMENT = "a" * 10 + "The code is 1234." + "b" * 73
FACT = Fact("The code is 1234.", "1234", 10, 27)
EXAMPLE = Example(DOCUMENT, "What is the code?", ("1234",), (FACT,), "{context}", 0)


def trace(*memories: str, size: int = 20) -> Trace:
    """Return a reading in segments of 20 characters. The fact ends in the second segment."""
    turns = [
        memorized(place, Segment(place * size, (place + 1) * size, "", 1), memory)
        for place, memory in enumerate(memories)
    ]
    return finished("?", turns, "")


@pytest.mark.parametrize(
    ("memories", "answer", "state", "lost_at"),
    [
        (("", "code 1234", "1234", "1234", "1234"), "1234", "answered", None),
        (("", "code 1234", "1234", "1234", "1234"), "4321", "not answered", None),
        (("", "code 1234", "1234", "", ""), "", "lost", 4),
        (("", "1234", "", "1234", ""), "", "lost", 5),
        (("", "", "", "1234", "1234"), "", "not answered", None),
        (("1234", "", "", "", ""), "", "never written", None),  # a guess, because the fact was not yet read
        (("", "12345", "x1234", "1234x", ""), "", "never written", None),
        (("", "", "", "", ""), "it is 1234", "answered", None),
    ],
)
def test_what_became_of_a_fact(memories: tuple[str, ...], answer: str, state: str, lost_at: int | None) -> None:
    [found] = track(EXAMPLE, trace(*memories), answer, solved=False)
    assert (found.state, found.lost_at) == (state, lost_at)
    assert found.step == 2
    assert found.depth == 0.1


def test_a_solved_example_has_no_fault() -> None:
    [found] = track(EXAMPLE, trace("", ""), "", solved=True)
    assert found.state == "answered"


def test_a_key_of_several_words_is_found_over_lines_and_in_any_case() -> None:
    fact = Fact("The keeper lives in New York.", "New York", 0, 5)
    example = Example(DOCUMENT, "?", ("New York",), (fact,), "{context}", 0)
    [found] = track(example, trace("it is NEW\n york", ""), "", solved=False)
    assert (found.state, found.lost_at) == ("lost", 2)


def test_a_fact_whose_key_stands_in_the_question_is_not_followed() -> None:
    example = Example(DOCUMENT, "Is the code 1234?", ("yes",), (FACT,), "{context}", 0)
    assert track(example, trace("", "1234"), "", solved=False) == ()


def test_the_earliest_fault_is_the_cause() -> None:
    def facts(*states: str) -> list[Tracked]:
        return [Tracked(0, 1, state) for state in states]  # type: ignore[arg-type]

    assert cause(facts("lost", "answered", "never written")) == "never written"
    assert cause(facts("answered", "lost", "not answered")) == "lost"
    assert cause(facts("answered", "answered")) == "not answered"


def test_depths_are_shares_of_the_document() -> None:
    assert depths(EXAMPLE) == (0.1,)
