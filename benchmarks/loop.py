"""Measures the cost of the loop itself: with the engine, and with a chat that replies at once."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common import clock, figure, text

from memagent import Budget, MemoryAgent, ScriptedChat, text_document
from memagent.models.local import LocalChat

_TICK = 0.002
"""Seconds between two checks of the clock."""


def scripted(fsync: bool, turns: int = 2000) -> float:
    """Return turns per second with a journal; segments and memories have the paper's size in characters."""
    memory = "The keeper hid the compass. " * 150
    content = text(turns * 5000 // 4, "les-mis-rables")
    with (
        tempfile.TemporaryDirectory() as folder,
        MemoryAgent(ScriptedChat(lambda request: memory, keep=False), budget=Budget(memory=5000), fsync=fsync) as agent,
        text_document(content) as document,
    ):
        with clock() as seconds:
            answer = agent.ask("Who hid the compass?", document, run=Path(folder))
        return len(answer.trace.turns) / seconds[0]


async def local(folder: Path) -> tuple[float, float, float]:
    """Read 8 segments of 1,000 tokens. Returns the share of wall time in the engine, the seconds, the longest stall."""
    chat = LocalChat("tiny")
    async with MemoryAgent(chat, budget=Budget(segment=1000, memory=128)) as agent:
        with longest_stall() as stall:
            with text_document("warm up") as document:
                await agent.ask_async("What is this?", document)
            before = chat.engine_seconds
            with text_document(text(30_000)) as document, clock() as seconds:
                await agent.ask_async("Who is Anna Pavlovna?", document, run=folder)
        return (chat.engine_seconds - before) / seconds[0], seconds[0], stall[0]


@contextmanager
def longest_stall() -> Iterator[list[float]]:
    """`with longest_stall() as stall: …` puts the longest time that the event loop stood still into stall[0]."""
    stall = [0.0]

    async def tick() -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(_TICK)
            stall[0] = max(stall[0], time.perf_counter() - began - _TICK)

    ticker = asyncio.create_task(tick())
    try:
        yield stall
    finally:
        ticker.cancel()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        share, seconds, stall = asyncio.run(local(Path(folder)))
    figure("loop: wall time inside the engine, local", f"{share:.2%} of {seconds:.1f} s", "goal: at least 98 %")
    figure("loop: the event loop's longest stall, local", f"{stall * 1000:.0f} ms", "goal: under 50 ms")
    figure("loop: scripted chat, journal, fsync off", f"{scripted(False):,.0f} turns/s", "goal: at least 200")
    figure("loop: scripted chat, journal, fsync on", f"{scripted(True):,.0f} turns/s")


if __name__ == "__main__":
    main()
