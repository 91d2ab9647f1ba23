"""Rollouts: many attempts at many problems, advanced in lockstep as one batch on the policy.

Each turn, all attempts that wait for a completion form a batch. Attempts that are finished leave it; long and short
ones live together.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch

from memagent.core.records import Completion, Message, Request, Tokens, Trace, Turn, Usage
from memagent.errors import WindowOverflow
from memagent.models.chat import Sampling
from memagent.readers.overwrite import Reading, Underway
from memagent.rl.problems import Problem
from memagent.train.batches import Conversation
from memagent.train.beginnings import shares
from memagent.train.cache import Kept
from memagent.train.out_of_memory import enough_memory
from memagent.train.policy import Policy
from memagent.train.sampling import Sampled, Work, sample


@dataclass(frozen=True, slots=True)
class Rollout:
    """A finished attempt: every turn's completion carries its tokens."""

    problem: str
    trace: Trace
    answer: str
    reward: float
    overflowed: bool = False
    """Whether it ended at a prompt that did not fit the window, such as the answer's."""

    @property
    def conversations(self) -> list[Conversation]:
        """What the policy read and wrote, conversation by conversation, as the tokens that were sampled."""
        found = []
        for turn in self.trace.turns:
            tokens = turn.completion.tokens
            assert tokens is not None, "a policy's completions carry their tokens"
            found.append(Conversation(tokens.prompt, tokens.ids, tokens.logprobs))
        return found


class _Attempt(Underway):
    """An attempt under way."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.begin())
        self.problem = problem
        self.trace = list[Turn]()
        self.prompt: list[int] = []
        self.kept: Kept | None = None
        self.overflowed = False

    def overflow(self, error: WindowOverflow) -> None:
        """The prompt was too long: the reading asks again with less, or this attempt is over."""
        try:
            super().overflow(error)
        except WindowOverflow:
            self.request, self.overflowed = None, True

    def finished(self) -> Rollout:
        trace = Trace(self.problem.name, self.trace)
        reward = 0.0 if self.overflowed else self.problem.reward(self.answer, trace)
        return Rollout(self.problem.name, trace, self.answer, reward, self.overflowed)


@dataclass(slots=True)
class Sampler:
    """Samples rollouts of a policy.

    Args:
        batch_tokens: of the prompts and completions of one batch, at most; memory grows with it. What prompts have in
            common is not counted: it is there once.
    """

    policy: Policy
    sampling: Sampling
    random: torch.Generator
    batch_tokens: int = 65536
    work: Work = field(default_factory=Work)
    _growing: bool = False
    """Whether a prompt was seen that goes on with the conversation before: then what was computed is kept."""

    def rollouts(self, problems: Sequence[Problem], group: int = 1) -> list[list[Rollout]]:
        """`group` rollouts of each problem, in the order of the problems."""
        attempts = [_Attempt(problem) for problem in problems for _ in range(group)]
        with self.policy.merged():
            while waiting := [attempt for attempt in attempts if attempt.request is not None]:
                self._render(waiting)
                for batch in self._batches(waiting):
                    self._complete(batch)
        done = [attempt.finished() for attempt in attempts]
        return [done[start : start + group] for start in range(0, len(done), group)]

    def completions(self, requests: Sequence[Request]) -> list[Completion]:
        """Of single conversations, as one batch.

        Raises:
            WindowOverflow: one does not fit the window.
        """
        groups = self.rollouts([Problem("", partial(_once, request), _worth_nothing) for request in requests])
        if any(rollout.overflowed for (rollout,) in groups):
            raise WindowOverflow(f"A prompt is longer than the window of {self.policy.window:,} tokens.")
        return [rollout.trace.turns[0].completion for (rollout,) in groups]

    def _render(self, waiting: Sequence[_Attempt]) -> None:
        rendered: dict[tuple[Message, ...], list[int]] = {}  # most rollouts of a problem wait with the same messages
        for attempt in waiting:
            while attempt.request is not None:
                messages = tuple(attempt.request.messages)
                if messages not in rendered:
                    rendered[messages] = self.policy.render(messages)
                before, attempt.prompt = attempt.prompt, rendered[messages]
                self._growing |= bool(before) and attempt.prompt[: len(before)] == before
                room = self.policy.window - attempt.request.max_tokens
                if len(attempt.prompt) <= room:
                    break
                attempt.overflow(
                    WindowOverflow(f"A prompt has {len(attempt.prompt):,} tokens; the window has room for {room:,}.")
                )

    def _batches(self, waiting: Sequence[_Attempt]) -> Iterator[list[_Attempt]]:
        """In their order, so that what is alike stays together; each batch small enough to hold."""
        shared = {} if self._growing else shares([attempt.prompt for attempt in waiting])
        batch: list[_Attempt] = []
        longest = 0
        for attempt in waiting:
            if attempt.request is None:
                continue
            tokens = len(attempt.prompt) - shared.get(tuple(attempt.prompt), 0) + attempt.request.max_tokens
            longest = max(longest, tokens)
            if batch and longest * (len(batch) + 1) > self.batch_tokens:
                yield batch
                batch, longest = [], tokens
            batch.append(attempt)
        if batch:
            yield batch

    def _complete(self, batch: Sequence[_Attempt]) -> None:
        began = time.perf_counter()
        with enough_memory("sampling", "sample_tokens", self.batch_tokens):
            found = sample(
                self.policy,
                [attempt.prompt for attempt in batch],
                [attempt.request.max_tokens for attempt in batch if attempt.request],
                self.sampling,
                self.random,
                self.work,
                [attempt.kept for attempt in batch] if self._growing else None,
            )
        seconds = (time.perf_counter() - began) / len(batch)
        said = {tuple(one.ids) for one in found}
        texts = dict(zip(said, map(self.policy.decode, said), strict=True))
        for attempt, one in zip(batch, found, strict=True):
            attempt.kept = one.kept
            attempt.trace.append(attempt.take(self._completion(attempt.prompt, one, texts[tuple(one.ids)], seconds)))

    def _completion(self, prompt: Sequence[int], one: Sampled, text: str, seconds: float) -> Completion:
        return Completion(
            text,
            one.finish,
            Usage(len(prompt), len(one.ids), seconds),
            Tokens(tuple(one.ids), tuple(one.logprobs), tuple(prompt)),
        )


def _once(request: Request) -> Reading:
    return (yield request).text


def _worth_nothing(answer: str, trace: Trace) -> float:
    return 0.0
