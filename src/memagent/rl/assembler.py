"""Replies of a perfect reader that skips what adds nothing, and puts memories together in whatever order it reads."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from memagent.core.prompts import NO_CHANGE, NO_MEMORY, NOTHING
from memagent.core.records import Request, Segment
from memagent.rl.oracle import Overwriter

Join = Callable[[Sequence[str]], str]
"""Makes one memory of several, in the order of the document."""


def join_lines(memories: Iterable[str]) -> str:
    """Return the lines of all memories, each once."""
    lines = dict.fromkeys(line for each in memories for line in each.splitlines() if line.strip())
    return "\n".join(line for line in lines if line not in (NO_MEMORY, NOTHING)) or NOTHING


@dataclass(frozen=True, slots=True)
class Assembler(Overwriter):
    """A perfect reader for `gated`, `parallel`, `search` and `reread`. It knows what each segment says by itself."""

    alone: Callable[[Segment], str] = lambda segment: NOTHING
    """Returns the ideal memory of a reader that reads one segment only."""
    join: Join = join_lines
    skips: float = 1.0
    """Share of the segments that add nothing to which the reply is NO CHANGE, not the memory again."""

    def reply(self, request: Request) -> str:
        if request.kind == "answer":
            return self.answer(self.right)
        if request.kind == "merge":
            return self.join([request.memory, dict(request.fields)["notes"]])
        if request.kind == "check":
            return "YES" if self.join([request.memory]) == self.join(list(map(self.alone, self.pieces))) else "NO"
        assert request.segment is not None
        before, new = self.join([request.memory]), self.alone(request.segment)
        after = self.join([request.memory, new])
        if after == before and random.Random(f"{self.question} {request.segment.start}").random() < self.skips:
            return NO_CHANGE
        return after
