"""Rollouts: many attempts at many problems, advanced in lockstep as one batch on the policy.

In each turn, all attempts that wait for a completion form a batch. Finished attempts leave it, so long and short ones
can run together.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch

from memagent.core.reading import Reading
from memagent.core.records import Completion, Message, Request, Tokens, Trace, Usage
from memagent.errors import WindowOverflow
from memagent.models.chat import Sampling
from memagent.rl.problems import Problem
from memagent.rl.rollouts import Attempt, Rollout
from memagent.train.cache import Kept
from memagent.train.generation import Sampled, Work, sample
from memagent.train.oom import enough_memory
from memagent.train.policy import Policy
from memagent.train.prefixes import shares


@dataclass(slots=True)
class _Thread:
    """An attempt, its last prompt, and the cache of that prompt."""

    attempt: Attempt
    prompt: list[int] = field(default_factory=list)
    kept: Kept | None = None


@dataclass(frozen=True, slots=True)
class _Call:
    """A request of an attempt, with its prompt as tokens."""

    thread: _Thread
    place: int
    request: Request
    prompt: list[int]


@dataclass(slots=True)
class Sampler:
    """Samples rollouts of a policy.

    Args:
        batch_tokens: maximum number of prompt and completion tokens in one batch; memory use grows with it.
            Shared prefixes are stored once and not counted.
    """

    policy: Policy
    sampling: Sampling
    random: torch.Generator
    batch_tokens: int = 65536
    work: Work = field(default_factory=Work)
    _growing: bool = False
    """Whether a prompt has continued the conversation before it. From then on caches are kept."""

    def rollouts(self, problems: Sequence[Problem], group: int = 1) -> list[list[Rollout]]:
        """Sample `group` rollouts of each problem, in the order of the problems."""
        attempts = [Attempt(problem) for problem in problems for _ in range(group)]
        threads = [_Thread(attempt) for attempt in attempts]
        with self.policy.merged():
            while calls := self._calls(threads):
                for batch in self._batches(calls):
                    self._complete(batch)
        done = [attempt.finished() for attempt in attempts]
        return [done[start : start + group] for start in range(0, len(done), group)]

    def completions(self, requests: Sequence[Request]) -> list[Completion]:
        """Complete single requests as one batch.

        Raises:
            WindowOverflow: a prompt does not fit the window.
        """
        groups = self.rollouts([Problem("", partial(_once, request), _worth_nothing) for request in requests])
        if any(rollout.overflowed for (rollout,) in groups):
            raise WindowOverflow(f"A prompt is longer than the window of {self.policy.window:,} tokens.")
        return [rollout.trace.turns[0].completion for (rollout,) in groups]

    def _calls(self, threads: Sequence[_Thread]) -> list[_Call]:
        """The requests that attempts wait for, without those that do not fit the window."""
        calls = []
        rendered: dict[tuple[Message, ...], list[int]] = {}  # most rollouts of a problem wait with the same messages
        for thread in threads:
            attempt = thread.attempt
            for place, request in self._fitting(attempt, rendered):
                prompt = rendered[request.messages]
                self._growing |= bool(thread.prompt) and prompt[: len(thread.prompt)] == thread.prompt
                calls.append(_Call(thread, place, request, prompt))
        return calls

    def _fitting(
        self, attempt: Attempt, rendered: dict[tuple[Message, ...], list[int]]
    ) -> Iterable[tuple[int, Request]]:
        while attempt.wanted:
            long = None
            for place, request in attempt.wanted.items():
                if request.messages not in rendered:
                    rendered[request.messages] = self.policy.render(request.messages)
                tokens, room = len(rendered[request.messages]), self.policy.window - request.max_tokens
                if tokens > room:
                    long = place, f"A prompt has {tokens:,} tokens; the window has room for {room:,}."
            if long is None:
                return list(attempt.wanted.items())
            attempt.overflow(WindowOverflow(long[1]), long[0])
        return ()

    def _batches(self, calls: Sequence[_Call]) -> Iterator[list[_Call]]:
        """Yield batches that are small enough. Calls keep their order, so that similar prompts stay together."""
        shared = {} if self._growing else shares([call.prompt for call in calls])
        batch: list[_Call] = []
        longest = 0
        for call in calls:
            tokens = len(call.prompt) - shared.get(tuple(call.prompt), 0) + call.request.max_tokens
            longest = max(longest, tokens)
            if batch and longest * (len(batch) + 1) > self.batch_tokens:
                yield batch
                batch, longest = [], tokens
            batch.append(call)
        if batch:
            yield batch

    def _complete(self, batch: Sequence[_Call]) -> None:
        began = time.perf_counter()
        with enough_memory("sampling", "sample_tokens", self.batch_tokens):
            found = sample(
                self.policy,
                [call.prompt for call in batch],
                [call.request.max_tokens for call in batch],
                self.sampling,
                self.random,
                self.work,
                [call.thread.kept for call in batch] if self._growing else None,
            )
        seconds = (time.perf_counter() - began) / len(batch)
        said = {tuple(one.ids) for one in found}
        texts = dict(zip(said, map(self.policy.decode, said), strict=True))
        for call, one in zip(batch, found, strict=True):
            call.thread.prompt, call.thread.kept = call.prompt, one.kept
            completion = self._completion(call.prompt, one, texts[tuple(one.ids)], seconds)
            call.thread.attempt.take(completion, call.place)

    def _completion(self, prompt: Sequence[int], one: Sampled, text: str, seconds: float) -> Completion:
        return Completion(
            text,
            one.finish,
            Usage(len(prompt), len(one.ids), seconds),
            Tokens(tuple(one.ids), tuple(one.logprobs), tuple(prompt)),
        )


def _once(request: Request) -> Reading:
    return str((yield request).text)


def _worth_nothing(answer: str, trace: Trace) -> float:
    return 0.0
