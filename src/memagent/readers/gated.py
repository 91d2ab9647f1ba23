"""The paper's loop with a gate: a model that has nothing to add replies NO CHANGE instead of the whole memory.

This is the update gate of GRU-Mem (arXiv 2602.10560). GRU-Mem's exit gate is in `memagent.readers.exit`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from memagent.core.budget import Budget
from memagent.core.prompts import NO_CHANGE, NO_MEMORY, Prompts, request
from memagent.core.reading import Reading
from memagent.core.records import Memory, Request, Segment
from memagent.readers.halving import Steps, in_halves
from memagent.readers.overwrite import answer

_AROUND = re.compile(r"</?memory>|^\W*updated memory\b", re.IGNORECASE | re.MULTILINE)
"""Words of the prompt that models repeat around their reply."""


def gated(question: str, segments: Iterable[Segment], budget: Budget, prompts: Prompts) -> Reading:
    """Read the segments one by one, keeping the memory where the model replies NO CHANGE, then answer from it."""
    memory = NO_MEMORY
    for segment in segments:
        memory = yield from memorize(question, memory, segment, budget, prompts)
    return str((yield answer(question, memory, budget, prompts)).text)


@in_halves
def memorize(question: str, memory: str, segment: Segment, budget: Budget, prompts: Prompts) -> Steps:
    written = (yield update(question, memory, segment, budget, prompts)).text
    memory = memory if changes_nothing(written) else written
    yield Memory(memory)
    return memory


def update(question: str, memory: str, segment: Segment, budget: Budget, prompts: Prompts) -> Request:
    """Return the request for the next memory, or for NO CHANGE."""
    fields = {"prompt": question, "memory": memory, "chunk": segment.text}
    return request(prompts.gated, fields, budget.memory, segment, memory)


def changes_nothing(reply: str) -> bool:
    """Return whether a reply leaves the memory as it was: it is empty, begins with NO CHANGE, or has such a line.

    Any other text in the reply is dropped, and `memagent.evidence.warnings` tells the user. Such text mostly explains
    why there is nothing to add. If it replaced the memory, the memory would be lost.
    """
    lines = [re.sub(r"[\W_]+", " ", line).strip() for line in _AROUND.sub("", reply).splitlines()]
    lines = [line for line in lines if line]
    return not lines or lines[0].startswith(NO_CHANGE) or any(re.fullmatch("no changes?", line, re.I) for line in lines)
