"""A segment whose prompt is longer than the model's window is read as two halves."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from memagent.core.budget import Budget
from memagent.core.prompts import Prompts
from memagent.core.records import Memory, Request, Segment
from memagent.core.segments import halves
from memagent.errors import WindowOverflow

Steps = Generator[Request | Memory, Any, str]
"""A part of a reading, which returns the next memory."""

Memorize = Callable[[str, str, Segment, Budget, Prompts], Steps]
"""From question, memory and segment to the next memory."""


def in_halves(memorize: Memorize) -> Memorize:
    """The same for either half where the whole segment does not fit, and for their halves."""

    def read(question: str, memory: str, segment: Segment, budget: Budget, prompts: Prompts) -> Steps:
        try:
            return (yield from memorize(question, memory, segment, budget, prompts))
        except WindowOverflow:
            if len(segment.text) < 2:
                raise
            for half in halves(segment):
                memory = yield from read(question, memory, half, budget, prompts)
            return memory

    return read
