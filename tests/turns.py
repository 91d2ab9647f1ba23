"""Made-up turns and traces for tests."""

from __future__ import annotations

from collections.abc import Sequence

from memagent.core.records import Completion, Finish, Request, Segment, Trace, Turn, Usage


def memorized(index: int, segment: Segment, memory: str, finish: Finish = "stop", usage: Usage | None = None) -> Turn:
    """Return a turn that read a segment and whose completion is the memory."""
    return Turn(index, Request((), 1024, segment), Completion(memory, finish, usage or Usage()), memory, wave=index)


def finished(question: str, turns: Sequence[Turn], answer: str, finish: Finish = "stop") -> Trace:
    """Return a trace of the turns and an answer from the last memory."""
    memory = turns[-1].memory if turns else ""
    last = Turn(len(turns), Request((), 1024, kind="answer"), Completion(answer, finish), memory, wave=len(turns))
    return Trace(question, (*turns, last))
