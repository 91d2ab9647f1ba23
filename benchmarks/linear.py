"""Linear: the time a segment takes does not depend on how many come before it.

One text of 320 segments is read as a whole and, turn by turn beside it, as ten documents of 32. Taken in turns,
both see the same segments at the same moment, so that what else the machine does falls on both alike.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from common import figure, text

from memagent import Budget, Segment, Underway, overwrite, segments
from memagent.core.prompts import prompts_for
from memagent.models.local import LocalChat

LONG, SHORT = 320, 32
BUDGET = Budget(segment=200, memory=16, answer=1)


def readings(question: str, pieces: Sequence[Segment], length: int) -> Iterator[Underway]:
    """The segments as documents of `length` segments each."""
    for start in range(0, len(pieces), length):
        yield Underway(overwrite(question, pieces[start : start + length], BUDGET, prompts_for()))


async def seconds(chat: LocalChat, under: Underway) -> float:
    """Of the next turn."""
    before = chat.engine_seconds
    under.take(await chat.complete(under.wanted[0]))
    return chat.engine_seconds - before


async def compare() -> tuple[float, float]:
    """Engine seconds for all segments: as one document, and as ten."""
    chat = LocalChat()
    await chat.open()
    pieces = list(segments([text(400_000)], BUDGET.segment, chat.tokenizer))[:LONG]
    long = short = 0.0
    [whole] = readings("What takes place?", pieces, LONG)
    for part in readings("What happens here?", pieces, SHORT):  # other words: nothing is found in the prefix cache
        for _ in range(SHORT):
            long += await seconds(chat, whole)
            short += await seconds(chat, part)
    return long, short


def main() -> None:
    long, short = asyncio.run(compare())
    figure(
        f"linear: a segment of {LONG} against one of {SHORT}",
        f"{long / LONG * 1000:.0f} ms / {short / LONG * 1000:.0f} ms = {long / short:.3f}",
        "goal: within 5 %",
    )


if __name__ == "__main__":
    main()
