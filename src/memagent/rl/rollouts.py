"""Attempts at problems, and the rollouts that they become. See `Underway` for how to drive an attempt."""

from __future__ import annotations

from dataclasses import dataclass

from memagent.core.reading import Underway
from memagent.core.records import Completion, Trace, Turn
from memagent.errors import WindowOverflow
from memagent.rl.conversations import Conversation
from memagent.rl.problems import Problem


@dataclass(frozen=True, slots=True)
class Rollout:
    """A finished attempt. Every turn's completion carries its tokens."""

    problem: str
    trace: Trace
    answer: str
    reward: float
    overflowed: bool = False
    """Whether the attempt ended at a prompt that did not fit the window, such as the answer prompt."""

    @property
    def conversations(self) -> list[Conversation]:
        """The prompt and the completion of each turn, as the tokens that were sampled."""
        found = []
        for turn in self.trace.turns:
            tokens = turn.completion.tokens
            assert tokens is not None, "a policy's completions carry their tokens"
            found.append(Conversation(tokens.prompt, tokens.ids, tokens.logprobs))
        return found


class Attempt(Underway):
    """An attempt at a problem, under way."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.begin())
        self.problem = problem
        self.trace = list[Turn]()
        self.overflowed = False

    def take(self, completion: Completion, place: int = 0) -> Turn:
        turn = super().take(completion, place)
        self.trace.append(turn)
        return turn

    def _go_on(self) -> None:
        """Go on to the next wave. If a prompt was too long and the reading cannot ask for less, end this attempt."""
        try:
            super()._go_on()
        except WindowOverflow:
            self.wanted, self.overflowed = {}, True

    def finished(self) -> Rollout:
        trace = Trace(self.problem.name, self.trace)
        reward = 0.0 if self.overflowed else self.problem.reward(self.answer, trace)
        return Rollout(self.problem.name, trace, self.answer, reward, self.overflowed)
