"""Read in order until the memory answers the question (the exit gate of GRU-Mem, arXiv 2602.10560).

After each change of the memory, the model is asked whether the memory answers the question. If it does, the rest of the
document is not read.
"""

from __future__ import annotations

from collections.abc import Iterable

from memagent.core.budget import Budget
from memagent.core.prompts import Prompts
from memagent.core.reading import Reading
from memagent.core.records import Segment
from memagent.readers.overwrite import answer
from memagent.readers.styles import Style


def until_answered(
    style: Style, question: str, segments: Iterable[Segment], budget: Budget, prompts: Prompts
) -> Reading:
    """Read the segments one by one until the memory answers the question, then answer from it."""
    memory = style.empty
    for segment in segments:
        before = memory
        memory = yield from style.memorize(question, memory, segment, budget, prompts)
        if memory != before and (yield from style.check(question, memory, budget, prompts)).enough:
            break
    return str((yield answer(question, memory, budget, prompts)).text)
