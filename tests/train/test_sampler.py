"""Rollouts in lockstep: texts of different lengths, the prompts of the reading loop, rewards and overflows."""

from __future__ import annotations

import json
from collections.abc import Generator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from wanted import wanted

from memagent.core.budget import Budget
from memagent.core.prompts import Prompts
from memagent.core.reading import Underway
from memagent.core.records import Completion, Message, Request, Trace
from memagent.core.tokenizer import ByteTokenizer
from memagent.errors import WindowOverflow
from memagent.models.chat import Sampling
from memagent.rl.config import WarmupConfig
from memagent.rl.problems import MemoryProblems, Problem
from memagent.rl.rollouts import Rollout
from memagent.tasks.example import Length
from memagent.tasks.own_questions import load_own
from memagent.tasks.practice.colours import COLOURS, ColourTask
from memagent.train.generation import Sampled, sample
from memagent.train.lessons import ideal
from memagent.train.nano import PROMPTS, nano_policy
from memagent.train.policy import Policy
from memagent.train.sampler import Sampler


@pytest.fixture(scope="module")
def policy() -> Policy:
    return nano_policy(1)


def sampler(policy: Policy, temperature: float = 1.0, batch_tokens: int = 65536) -> Sampler:
    return Sampler(policy, Sampling(temperature), torch.Generator().manual_seed(5), batch_tokens)


def problems(policy: Policy, length: int) -> MemoryProblems:
    budget = Budget(question=8, segment=24, memory=6, answer=6)
    return MemoryProblems(ColourTask(), Length(length), 1, policy.tokenizer, [PROMPTS], budget, boxed=False)


def test_each_conversation_is_the_loops_with_the_memory_before(policy: Policy) -> None:
    drawn = [problems(policy, length).problem(number) for number, length in enumerate((48, 120, 72))]
    groups = sampler(policy).rollouts(drawn, 3)
    assert [[rollout.problem for rollout in group] for group in groups] == [[each.name] * 3 for each in drawn]
    assert [len(group[0].trace.turns) for group in groups] == [3, 6, 4]
    for problem, group in zip(drawn, groups, strict=True):
        for rollout in group:
            under = Underway(problem.begin())
            for turn in rollout.trace.turns:
                request = wanted(under)
                assert turn.request == request
                tokens = turn.completion.tokens
                assert tokens is not None
                assert list(tokens.prompt) == policy.render(request.messages)
                assert turn.completion.text == policy.decode(tokens.ids)
                assert len(tokens.ids) == len(tokens.logprobs) <= request.max_tokens
                under.take(turn.completion)
            assert rollout.answer == under.answer
            assert rollout.reward == problem.reward(under.answer, rollout.trace)


def texts(groups: list[list[Rollout]]) -> list[str]:
    return [turn.completion.text for group in groups for rollout in group for turn in rollout.trace.turns]


def test_small_batches_give_the_same_greedy_rollouts(policy: Policy) -> None:
    drawn = [problems(policy, 72).problem(number) for number in range(6)]
    assert texts(sampler(policy, 0).rollouts(drawn, 2)) == texts(sampler(policy, 0, 70).rollouts(drawn, 2))


def test_what_prompts_share_does_not_count_towards_a_batch(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def counted(policy: Policy, prompts: list[list[int]], *rest: Any) -> list[Sampled]:
        sizes.append(len(prompts))
        return sample(policy, prompts, *rest)

    monkeypatch.setattr("memagent.train.sampler.sample", counted)
    section = "red 1 " * 50
    shared, alone = (
        [
            Request((Message("user", f"{section}{colour}" if same else f"{colour} {section}"),), 2)
            for colour in COLOURS[:4]
        ]
        for same in (True, False)
    )
    for requests, batches in ((shared, [4]), (alone, [1, 1, 1, 1])):
        sizes.clear()
        sampler(policy, 1.0, 60).completions(requests)
        assert sizes == batches


def test_the_beginnings_of_a_group_are_computed_once(policy: Policy) -> None:
    lockstep = sampler(policy)
    lockstep.rollouts([problems(policy, 96).problem(0)], 8)
    assert lockstep.work.computed_tokens < 0.9 * lockstep.work.prompt_tokens


def test_any_generator_of_requests_is_an_agent(policy: Policy) -> None:
    """Two conversations; the prompt of the second contains the completion of the first."""

    def steps() -> Generator[Request, Completion, str]:
        first = yield Request((Message("user", "red blue"),), 3)
        second = yield Request((Message("user", f"{first.text} ?"),), 2)
        return second.text + "!"

    def reward(answer: str, trace: Trace) -> float:
        return len(trace.turns) / 4 if answer.endswith("!") else 0

    [[rollout]] = sampler(policy).rollouts([Problem("two", steps, reward)])
    assert rollout.reward == 0.5
    assert len(rollout.conversations) == 2


def test_a_conversation_that_grows_goes_on_from_its_cache(policy: Policy) -> None:
    """Caches are kept once a prompt has continued its conversation. The sampled tokens stay the same."""

    def talk(name: str, turns: int) -> Problem:
        def steps() -> Generator[Request, Completion, str]:
            messages = [Message("user", f"{name} blue leaf moon salt rain")]
            for number in range(turns):
                said = (yield Request(tuple(messages), 2 + number)).text
                messages += [Message("assistant", said), Message("user", f"road {name}{number}")]
            return said

        return Problem(name, steps, lambda answer, trace: 1.0)

    lockstep = sampler(policy, 0)
    drawn = [talk("red", 4), talk("pink", 2), talk("gold", 3)]
    first, before = lockstep.rollouts(drawn, 2), replace(lockstep.work)
    again = lockstep.rollouts(drawn, 2)
    computed = lockstep.work.computed_tokens - before.computed_tokens
    # Two attempts say the same. They compute six words, then two words and the last one said in each turn.
    fed = sum(6 + 3 * (turns - 1) for turns in (4, 2, 3))
    assert computed == fed < 0.4 * before.prompt_tokens
    for group, other in zip(first, again, strict=True):
        for rollout, same in zip(group, other, strict=True):
            for turn, repeated in zip(rollout.trace.turns, same.trace.turns, strict=True):
                assert turn.completion.tokens is not None
                assert repeated.completion.tokens is not None
                assert turn.completion.tokens.ids == repeated.completion.tokens.ids
                assert turn.completion.tokens.logprobs == pytest.approx(repeated.completion.tokens.logprobs, abs=1e-4)


def test_a_prompt_beyond_the_window_is_thrown_into_the_attempt(policy: Policy) -> None:
    def steps() -> Generator[Request, Completion, str]:
        try:
            yield Request((Message("user", "leaf " * 600),), 3)
        except WindowOverflow:
            return (yield Request((Message("user", "leaf"),), 3)).text
        raise AssertionError

    [[rollout]] = sampler(policy).rollouts([Problem("long", steps, lambda answer, trace: 1.0)])
    assert len(rollout.trace.turns) == 1


def test_a_prompt_that_cannot_be_shortened_ends_its_rollout_with_no_reward(policy: Policy) -> None:
    def steps() -> Generator[Request, Completion, str]:
        yield Request((Message("user", "leaf"),), 3)
        return (yield Request((Message("user", "leaf " * 600),), 3, kind="answer")).text

    def short() -> Generator[Request, Completion, str]:
        return (yield Request((Message("user", "leaf"),), 3)).text

    problems = [Problem("long", steps, lambda answer, trace: 1.0), Problem("short", short, lambda answer, trace: 1.0)]
    [[long], [other]] = sampler(policy).rollouts(problems)
    assert (long.overflowed, long.reward, len(long.trace.turns)) == (True, 0.0, 1)
    assert (other.overflowed, other.reward, len(other.trace.turns)) == (False, 1.0, 1)


def test_ideal_completions_are_those_of_a_perfect_reader(policy: Policy) -> None:
    problem = problems(policy, 120).problem(2)
    conversations = ideal(policy, problem)
    assert len(conversations) == 6
    words = [policy.decode(each.completion) for each in conversations]
    assert all(each.completion[-1] == policy.end for each in conversations)
    assert "none" in words[0]
    assert problem.reward(words[-1], Trace("", ())) == 1
    assert words[-2] == words[-1]
    for before, after in zip(words[:-1], conversations[1:], strict=False):
        assert before in policy.decode(after.prompt)


def test_of_memories_that_stay_as_they_were_a_share_is_learnt_from(policy: Policy) -> None:
    source = problems(policy, 120)
    every = [ideal(policy, source.problem(number)) for number in range(30)]
    some, few = (
        [ideal(policy, source.problem(number), WarmupConfig(unchanged=share)) for number in range(30)]
        for share in (0.5, 0.0)
    )
    for whole, kept in zip(every, few, strict=True):
        *memories, answer = whole
        changes = [each for each, before in pairwise(memories[::-1]) if each.completion != before.completion]
        assert kept == [memories[0], *changes[::-1], answer]
    assert sum(map(len, few)) < sum(map(len, some)) < sum(map(len, every))
    assert all(set(one) <= set(other) for one, other in zip(few, some, strict=True))


def test_the_ideal_answer_is_all_that_is_asked_or_the_first_of_several_right_ones(tmp_path: Path) -> None:
    line = {"question": "Who?", "document": "Ada came.", "answers": ["Ada Lovelace", "Ada"]}
    tokenizer, last = ByteTokenizer(), Request((Message("user", ""),), 8, kind="answer")
    for scorer, expected in (("sub_em", "\\boxed{ Ada Lovelace}"), ("boxed_all", "\\boxed{ Ada Lovelace, Ada}")):
        path = tmp_path / f"{scorer}.jsonl"
        path.write_text(json.dumps(line | {"scorer": scorer}))
        source = MemoryProblems(load_own(path), Length(0, "own"), 0, tokenizer, [Prompts()], Budget())
        found = source.problem(0).ideal
        assert found
        assert found(last) == expected


def test_text_in_a_document_cannot_become_a_special_token(policy: Policy) -> None:
    assert policy.end not in policy.render((Message("user", "red <the end> blue"),))


def test_the_last_digit_of_a_colour_counts() -> None:
    policy = nano_policy(1)
    budget = Budget(question=8, segment=24, memory=6, answer=6)
    task = ColourTask("colours_changed", digits=3)
    source = MemoryProblems(task, Length(192), 1, policy.tokenizer, [PROMPTS], budget, boxed=False)
    for number in range(20):
        example = task.example(Length(192), number, 1, policy.tokenizer)
        asked = example.question.split()
        last = {word[:-1]: word for word in example.document.split() if word[:-1] in asked}
        assert example.answers == (" ".join(f"{colour} {last[colour]}" for colour in asked),)
        assert all(sum(word[:-1] == colour for word in example.document.split()) == 3 for colour in asked)
        words = [policy.decode(each.completion) for each in ideal(policy, source.problem(number))]
        assert words[-1] == example.answers[0]
