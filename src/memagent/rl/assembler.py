"""Replies of a perfect reader that skips what adds nothing, and puts memories together in whatever order it reads."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from memagent.core.prompts import NO_CHANGE, NOTHING
from memagent.core.records import Request, Segment
from memagent.readers.quotes import quotes_of
from memagent.rl.oracle import Overwriter, is_held
from memagent.tasks.example import Fact
from memagent.tasks.practice.mixture import ABSENT


@dataclass(frozen=True, slots=True)
class Whole:
    """What single segments say, and how it is put together."""

    alone: Callable[[Segment], str]
    """Returns the ideal memory of a reader that reads one segment only."""
    join: Callable[[Sequence[str]], str]
    """Makes one ideal memory of several, in the order of the document."""


def of_facts(facts: Sequence[Fact], last_only: bool) -> Whole:
    """Return the Whole of a document with these facts, in its order.

    Args:
        last_only: whether each fact replaces the one before.
    """

    def noted(held: Callable[[Fact], bool]) -> str:
        lines = [fact.text for fact in facts if held(fact)]
        return "\n".join(lines[-1:] if last_only else lines) or NOTHING

    def join(memories: Sequence[str]) -> str:
        lines = [line for each in memories for line in quotes_of(each)]
        return noted(lambda fact: is_held(fact.text, lines))

    return Whole(lambda segment: noted(lambda fact: segment.start <= fact.start and fact.end <= segment.end), join)


@dataclass(frozen=True, slots=True)
class Assembler(Overwriter):
    """A perfect reader for readers with a gate, and for those that do not read in order."""

    whole: Whole = field(default_factory=partial(of_facts, (), False))
    skips: float = 1.0
    """Share of the segments that add nothing to which the reply is NO CHANGE, not the memory again."""

    def reply(self, request: Request) -> str:
        join = self.whole.join
        if request.kind == "merge":
            return join([request.memory, dict(request.fields)["notes"]])
        held = join([request.memory])
        if request.kind == "choose":
            numbered = enumerate(quotes_of(request.memory), 1)
            return ", ".join(str(number) for number, quote in numbered if join([quote]) != NOTHING) or "NONE"
        if request.segment is None:
            complete = held == join([self.whole.alone(piece) for piece in self.pieces])
            if request.kind == "check":
                return "YES" if complete else "NO"
            return self.answer(self.right if complete else ABSENT)
        after = join([request.memory, self.whole.alone(request.segment)])
        if after == held and random.Random(f"{self.question} {request.segment.start}").random() < self.skips:
            return NO_CHANGE
        return after
