"""Read a segment as two halves if its prompt is longer than the model's window."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from memagent.core.budget import Budget
from memagent.core.prompts import Prompts
from memagent.core.records import Memory, Request, Segment
from memagent.core.segments import halves
from memagent.errors import WindowOverflow

Steps = Generator[Request | tuple[Request, ...] | Memory, Any, str]
"""A part of a reading that returns the next memory."""

Memorize = Callable[[str, str, Segment, Budget, Prompts], Steps]
"""A function that takes question, memory and segment and returns the steps to the next memory."""


def in_halves(memorize: Memorize) -> Memorize:
    """Make `memorize` read a segment that does not fit as two halves, and halves that do not fit as halves again."""

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
