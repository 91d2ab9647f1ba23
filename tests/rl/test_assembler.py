"""The perfect reader of readers that skip or read out of order, and the reward for brevity."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from memagent.core.prompts import NO_CHANGE, NOTHING
from memagent.core.reading import Underway
from memagent.core.records import Completion, Request, Segment, Trace, Turn, Usage
from memagent.readers import READERS
from memagent.rl.assembler import join_lines
from memagent.rl.problems import MemoryProblems, Problem, written
from memagent.tasks.example import Example, Length
from memagent.tasks.practice.colours import ColourTask
from memagent.train.nano import nano_policy

POLICY = nano_policy(0)
LENGTH = Length(150)


def problems(reader: str, digits: int = 2, **settings: Any) -> MemoryProblems:
    defaults = POLICY.defaults
    return MemoryProblems(
        ColourTask(digits=digits), LENGTH, 5, POLICY.tokenizer, [defaults.prompts], defaults.budget, reader=reader,
        boxed=False, **settings,
    )  # fmt: skip


def attempt(problem: Problem) -> tuple[Trace, str]:
    """Read as the perfect reader does, completing each wave in an order of its own."""
    assert problem.ideal is not None
    under, turns, draw = Underway(problem.begin()), [], random.Random(0)
    while under.wanted:
        place = draw.choice(list(under.wanted))
        text = problem.ideal(under.wanted[place])
        usage = Usage(1, len(text.split()) + 1)
        turns.append(under.take(Completion(text, "stop", usage), place))
    return Trace("", turns), under.answer


@pytest.mark.parametrize("reader", [name for name in READERS if "extract" not in name and "collect" not in name])
def test_its_answers_are_right_whatever_the_order_of_reading(reader: str) -> None:
    for number in range(12):
        problem = problems(reader).problem(number)
        trace, answer = attempt(problem)
        assert problem.reward(answer, trace) == 1
        assert trace.memory == list(ColourTask(digits=2).memories(example(number), pieces(trace)))[-1] or (
            "search" in reader or "exit" in reader
        )


def example(number: int) -> Example:
    return ColourTask(digits=2).example(LENGTH, number, 5, POLICY.tokenizer)


def pieces(trace: Trace) -> list[Segment]:
    shown = {turn.request.segment for turn in trace.turns if turn.request.segment}
    return sorted(shown, key=lambda segment: segment.start)


def test_the_share_of_skips() -> None:
    def skipped(skips: float) -> tuple[int, int]:
        """Return the replies NO CHANGE, and the replies that leave the memory as it was."""
        replies = [
            turn for number in range(20) for turn in attempt(problems("gated", 1, skips=skips).problem(number))[0].turns
        ]
        read = [turn for turn in replies if turn.request.segment]
        same = [turn for turn in read if turn.memory == turn.request.memory]
        return sum(turn.completion.text == NO_CHANGE for turn in read), len(same)

    none, all_, half = skipped(0), skipped(1), skipped(0.5)
    assert none[0] == 0
    assert all_[0] == all_[1] > 20
    assert 0.3 * half[1] < half[0] < 0.7 * half[1]


def test_a_short_reading_is_worth_more_than_a_long_one_and_a_wrong_one_nothing() -> None:
    problem = problems("gated", 1, brevity=0.5).problem(0)
    trace, answer = attempt(problem)
    share = written(trace)
    assert 0 < share < 1
    assert problem.reward(answer, trace) == pytest.approx(1 - 0.5 * share)
    assert problem.reward("red red0", trace) == 0
    longer, _ = attempt(problems("gated", 1, brevity=0.5, skips=0).problem(0))
    assert written(longer) > share


def turn(text: str, tokens: int, kind: str = "memorize") -> Turn:
    return Turn(0, Request((), 10, kind=kind), Completion(text, "stop", Usage(5, tokens)), "")


def test_an_empty_reply_counts_as_the_longest_and_the_answer_does_not_count() -> None:
    assert written(Trace("", [turn("a b", 3), turn("a", 2), turn("the answer", 9, "answer")])) == pytest.approx(0.25)
    assert written(Trace("", [turn(" ", 1)])) == 1
    assert written(Trace("", [turn("a", 9, "answer")])) == 0


def test_lines_are_joined_each_once() -> None:
    assert join_lines(["No previous memory", "b\na", NOTHING, "a\nc"]) == "b\na\nc"
    assert join_lines([NOTHING, ""]) == NOTHING


def test_colours_are_joined_the_last_one_counts() -> None:
    task = ColourTask(digits=2)
    one = replace(task.example(LENGTH, 0, 5, POLICY.tokenizer), question="red blue")
    assert (
        task.joined(one, ["red red1 blue none", "red none blue blue2", "red red3 blue none"]) == "red red3 blue blue2"
    )
