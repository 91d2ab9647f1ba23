"""The perfect replies for readers that skip or read out of order, and the reward for brevity."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from memagent.core.budget import Budget
from memagent.core.prompts import NO_CHANGE, NOTHING, Prompts
from memagent.core.quoting import squeezed
from memagent.core.reading import Underway
from memagent.core.records import Completion, Request, Segment, Trace, Turn, Usage
from memagent.core.tokenizer import ByteTokenizer
from memagent.readers import READERS
from memagent.readers.quotes import quotes_of
from memagent.rl.assembler import of_facts
from memagent.rl.problems import MemoryProblems, Problem, written
from memagent.tasks.counting import CommonWords
from memagent.tasks.example import Example, Fact, Length, Task
from memagent.tasks.lighthouses import make_demo
from memagent.tasks.needles import NeedleTask
from memagent.tasks.practice.colours import ColourTask
from memagent.tasks.practice.mixture import ABSENT, PracticeTask
from memagent.train.nano import nano_policy

POLICY = nano_policy(0)
LENGTH = Length(150)
BUDGET = Budget(question=400, segment=1000, memory=900, answer=100)


def problems(reader: str, digits: int = 2, **settings: Any) -> MemoryProblems:
    defaults = POLICY.defaults
    return MemoryProblems(
        ColourTask(digits=digits), LENGTH, 5, POLICY.tokenizer, [defaults.prompts], defaults.budget, reader=reader,
        boxed=False, **settings,
    )  # fmt: skip


def attempt(problem: Problem) -> tuple[Trace, str]:
    """Read as the perfect reader does, completing the requests of each wave in random order."""
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
        """Return how many replies are NO CHANGE, and how many leave the memory as it was."""
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


def fact(line: str, start: int) -> Fact:
    return Fact(line, line, start, start + len(line))


def test_facts_are_joined_in_the_order_of_the_document_each_once() -> None:
    facts = [fact("The red key is 1.", 5), fact("The blue key is 2.", 40), fact("The green key is 3.", 90)]
    whole = of_facts(facts, last_only=False)
    texts = [
        "No previous memory",
        "The blue key is 2.\nSomething else.",
        NOTHING,
        "The red key is 1.\nThe blue key is 2.",
    ]
    assert whole.join(texts) == "The red key is 1.\nThe blue key is 2."
    assert whole.join([NOTHING, ""]) == NOTHING
    assert whole.alone(Segment(30, 100, "", 1)) == "The blue key is 2."  # the third fact ends outside the segment
    assert of_facts(facts, last_only=True).join(texts) == "The blue key is 2."


OTHERS = [name for name in READERS if name not in ("overwrite", "extract") and "collect" not in name]


@pytest.mark.parametrize(
    "task",
    [
        NeedleTask("multivalue", "noise", values=4),
        NeedleTask("multiquery", "prose", keys=4, queries=4, prose=make_demo(40_000).document),
        PracticeTask(make_demo(50_000).document),
    ],
    ids=lambda task: str(task.name),
)
def test_it_never_says_what_it_has_not_read(task: Task) -> None:
    tokenizer, budget = ByteTokenizer(), Budget(question=400, segment=2000, memory=2000, answer=100)
    told = 0
    for reader in OTHERS:
        source = MemoryProblems(task, Length(9000), 3, tokenizer, [Prompts()], budget, reader=reader)
        for number in range(4):
            problem = source.problem(number)
            assert problem.ideal is not None
            under = Underway(problem.begin())
            while under.wanted:
                place, request = next(iter(under.wanted.items()))
                text = problem.ideal(request)
                if request.segment and text != NO_CHANGE:
                    seen = squeezed(f"{request.segment.text} {request.memory}")
                    for line in quotes_of(text):
                        assert squeezed(line).split(": ", 1)[-1] in seen
                        told += 1
                under.take(Completion(text), place)
            trace = Trace("", [])
            right = problem.reward(under.answer, trace)
            assert right == 1 or ABSENT in under.answer
    assert told > 50


@pytest.mark.parametrize("reader", ["exit_collect", "search_collect", "exit_extract", "parallel_extract"])
def test_quotes_are_enough_only_when_all_are_held(reader: str) -> None:
    task = NeedleTask("multivalue", "noise", values=4)
    source = MemoryProblems(
        task, Length(9000), 3, ByteTokenizer(), [Prompts()], Budget(400, 1200, 2000, 200), reader=reader
    )
    for number in range(4):
        trace, answer = attempt(source.problem(number))
        tries = [turn for turn in trace.turns if turn.request.kind == "try"]
        assert [ABSENT in turn.completion.text for turn in tries] == [True] * (len(tries) - 1) + [False]
        assert source.problem(number).reward(answer, trace) == 1


def test_nobody_is_perfect_who_counts_words_with_a_gate() -> None:
    task = CommonWords()
    for reader, known in (("gated", False), ("parallel", False), ("overwrite", True)):
        source = MemoryProblems(task, Length(3000), 3, ByteTokenizer(), [Prompts()], BUDGET, reader=reader)
        assert (source.problem(0).ideal is not None) == known


def test_colours_are_joined_the_last_one_counts() -> None:
    task = ColourTask(digits=2)
    one = replace(task.example(LENGTH, 0, 5, POLICY.tokenizer), question="red blue")
    assert (
        task.joined(one, ["red red1 blue none", "red none blue blue2", "red red3 blue none"]) == "red red3 blue blue2"
    )
