"""Checks that the time for a segment does not depend on the number of segments before it.

A text of 320 segments is read as a whole and as ten documents of 32, in alternate turns. So both readings see the same
segments at the same moment, and other work of the machine slows both equally.
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
    """Yield readings of the segments as documents of `length` segments each."""
    for start in range(0, len(pieces), length):
        yield Underway(overwrite(question, pieces[start : start + length], BUDGET, prompts_for()))


async def seconds(chat: LocalChat, under: Underway) -> float:
    """Return the engine seconds of the next turn."""
    before = chat.engine_seconds
    under.take(await chat.complete(under.wanted[0]))
    return chat.engine_seconds - before


async def compare() -> tuple[float, float]:
    """Return engine seconds for all segments: as one document, and as ten."""
    chat = LocalChat("tiny")
    await chat.open()
    pieces = list(segments([text(400_000)], BUDGET.segment, chat.tokenizer))[:LONG]
    long = short = 0.0
    [whole] = readings("What takes place?", pieces, LONG)
    for part in readings("What happens here?", pieces, SHORT):  # other words, so that nothing is in the prefix cache
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
