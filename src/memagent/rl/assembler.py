"""A perfect reader that skips segments that add nothing, and joins memories, whatever the order of reading."""

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
    """Functions that give the ideal memory of a single segment, and join such memories."""

    alone: Callable[[Segment], str]
    """Returns the ideal memory of a reader that has read only this segment."""
    join: Callable[[Sequence[str]], str]
    """Makes one ideal memory of several, in the order of the document."""


def of_facts(facts: Sequence[Fact], last_only: bool) -> Whole:
    """Return the Whole of a document with these facts.

    Args:
        facts: in the order of the document.
        last_only: whether each fact replaces the previous one.
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
    """Perfect replies for readers with a gate, and for readers that stop early, read again or read out of order."""

    whole: Whole = field(default_factory=partial(of_facts, (), False))
    skips: float = 1.0
    """Of the segments that add nothing, the share with the reply NO CHANGE; the others get the whole memory again."""

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
