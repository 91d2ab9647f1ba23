"""Replies of a perfect reader, and the lessons made from them."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
from wanted import wanted

from memagent.core.budget import Budget
from memagent.core.prompts import NONE, NOTHING, Prompts
from memagent.core.quoting import Section
from memagent.core.reading import Underway
from memagent.core.records import Completion, Request
from memagent.core.tokenizer import ByteTokenizer
from memagent.models.reader_defaults import ReaderDefaults
from memagent.readers.quotes import quotes_of
from memagent.rl.config import load_config
from memagent.rl.problems import MemoryProblems
from memagent.tasks.example import Length
from memagent.tasks.lighthouses import make_demo
from memagent.tasks.practice.mixture import ABSENT, PracticeTask
from memagent.train.lessons import Curriculum, ideal, lessons_from
from memagent.train.nano import nano_policy
from memagent.train.setup import curriculum

BUDGET = Budget(question=400, segment=3000, memory=900, answer=64)
TASK = PracticeTask(make_demo(50_000).document)


def problems(slips: tuple[float, ...] = (0.0,), memory: int = 900) -> MemoryProblems:
    budget = replace(BUDGET, memory=memory)
    return MemoryProblems(
        TASK, Length(12_000), 3, ByteTokenizer(), [Prompts()], budget, reader="collect", slips=slips
    )  # fmt: skip


def read(number: int, slips: tuple[float, ...] = (0.0,), room: int = 900) -> tuple[list[tuple[Request, str]], str]:
    """Return the requests of a reading with the ideal reply to each, and the last memory."""
    problem = problems(slips, room).problem(number)
    assert problem.ideal is not None
    under, found, memory = Underway(problem.begin()), list[tuple[Request, str]](), ""
    while under.wanted:
        request = wanted(under)
        text = problem.ideal(request)
        found.append((request, text))
        memory = request.memory
        under.take(Completion(problem.slip(request, text)))
    return found, memory


@pytest.mark.slow
def test_the_ideal_replies_are_quotes_of_the_section_or_none_and_end_in_the_answer() -> None:
    replies = 0
    for number in range(48):
        example = TASK.example(Length(12_000), number, 3, ByteTokenizer())
        turns, memory = read(number)
        for request, text in turns[:-1]:
            assert request.segment is not None
            if text != NONE:
                replies += 1
                section = Section(request.segment.text)
                quotes = [line.removeprefix("- ") for line in text.splitlines()]
                assert [f"- {quote}" for quote in quotes] == text.splitlines()
                found = [section.sentence(quote, example.question) for quote in quotes]
                sentences = {place[1] for place in found if place}
                assert len(sentences) == len(quotes)
                assert not sentences & set(quotes_of(request.memory))
        wanted = [fact.text.strip() for fact in example.facts]
        assert all(any(text in quote for quote in quotes_of(memory)) for text in wanted)
        assert turns[-1][1] == "\\boxed{ " + ", ".join(example.answers) + "}"
        assert (memory == NOTHING) == (example.answers == (ABSENT,))
    assert replies > 48


def test_a_careless_reader_collects_what_does_not_help_and_the_ideal_stays_ideal() -> None:
    noisy = chosen = 0
    for number in range(24):
        example = TASK.example(Length(12_000), number, 3, ByteTokenizer())
        turns, _ = read(number, (0.9,), room=120)
        helpful = {fact.text.strip() for fact in example.facts} | {
            fact.text.strip() for fact in getattr(example, "replaced", ())
        }
        for request, text in turns[:-1]:
            if request.kind == "choose":
                chosen += 1
                held = quotes_of(request.memory)
                kept = [held[int(place) - 1] for place in text.split(", ")] if text != NONE else []
                assert all(any(text in line for text in helpful) for line in kept)
                assert all(line in kept for line in held if any(fact.text.strip() in line for fact in example.facts))
            elif text != NONE:
                assert request.segment is not None
                section = Section(request.segment.text)
                found = [section.sentence(line, example.question) for line in text.splitlines()]
                # A statement without a full stop is kept together with the sentence after it.
                assert all(place and any(text in place[1] for text in helpful) for place in found)
        noisy += any(
            not any(text in line for text in helpful)
            for request, _ in turns
            for line in quotes_of(request.memory or NOTHING)
        )
    assert noisy > 12
    assert chosen > 5


def test_an_answer_is_not_given_from_a_memory_that_lost_it() -> None:
    number = next(number for number in range(40) if read(number)[1] != NOTHING)
    problem = problems().problem(number)
    assert problem.ideal is not None
    assert problem.ideal(Request((), 10, memory="Something else.", kind="answer")) == f"\\boxed{{ {ABSENT}}}"


@pytest.mark.slow
def test_what_is_soon_learnt_is_learnt_from_less() -> None:
    policy = nano_policy(0)
    config = load_config(preset="nano").warmup
    source = replace(problems(), tokenizer=policy.tokenizer, length=Length(4_000), slips=(0.0,))
    every = [ideal(policy, source.problem(number)) for number in range(8)]
    fewer = [ideal(policy, source.problem(number), replace(config, easy=0.0)) for number in range(8)]
    assert sum(map(len, fewer)) < sum(map(len, every))
    assert all(set(some) <= set(whole) for some, whole in zip(fewer, every, strict=True))
    none = (*policy.tokenizer.ids(NONE), policy.end)
    quoting = [ideal(policy, source.problem(number), replace(config, easy=0.0, unchanged=0.0)) for number in range(8)]
    assert [[each for each in whole if each.completion != none] for whole in fewer] == quoting != fewer


@pytest.mark.slow
def test_of_answers_that_abstain_a_share_is_learnt_from() -> None:
    policy = nano_policy(0)
    config = load_config(preset="nano").warmup
    source = replace(problems(), tokenizer=policy.tokenizer, length=Length(4_000), slips=(0.0,))
    left_out = 0
    for number in range(40):
        every = ideal(policy, source.problem(number), config)
        fewer = ideal(policy, source.problem(number), replace(config, abstaining=0.0))
        example = TASK.example(Length(4_000), number, 3, policy.tokenizer)
        assert fewer == (every[:-1] if example.answers == (ABSENT,) else every)
        left_out += len(every) - len(fewer)
    assert left_out > 0


@pytest.mark.slow
def test_lessons_made_ahead_by_other_processes_are_the_same() -> None:
    policy = nano_policy(0)
    policy.defaults = ReaderDefaults(policy.defaults.prompts, policy.defaults.budget)
    config = load_config(preset="nano", sets=["warmup.problems=4"])
    made: list[list[object]] = []
    for workers in (0, 2):
        each = replace(config, warmup=replace(config.warmup, workers=workers))
        with lessons_from(curriculum(each, policy), policy, 8, 0, 1) as coming:
            made.append([list(step) for step in islice(coming, 3)])
    assert made[0] == made[1]


def test_now_and_then_a_step_is_about_overwriting() -> None:
    config = load_config(preset="nano", sets=["problems.overwriting=0.25", "problems.overwriting_problems=2"])
    plan = Curriculum(problems(), replace(problems(), reader="overwrite"), config)
    many = [len(plan.at(place)) for place in range(0, 40 * config.warmup.problems, config.warmup.problems)][:40]
    assert set(many) == {2, config.warmup.problems}
    assert 3 <= many.count(2) <= 18
    assert [each.name for each in plan.at(64)] == [each.name for each in plan.at(64)]


def test_the_readers_preset_is_whole(tmp_path: Path) -> None:
    config = load_config(preset="reader")
    assert config.problems.reader == "collect"
    assert config.policy.model == "qwen2.5-coder-0.5b"
