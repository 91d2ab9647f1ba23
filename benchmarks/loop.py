"""What the loop itself costs: beside the engine, and beside a chat that replies at once."""

from __future__ import annotations

import tempfile
from pathlib import Path

from common import clock, figure, text

from memagent import Budget, MemoryAgent, ScriptedChat, text_document
from memagent.models.local import LocalChat


def scripted(fsync: bool, turns: int = 2000) -> float:
    """Turns a second with a journal, segments and memories of the paper's size in characters."""
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


def local() -> tuple[float, float]:
    """The share of wall time inside the engine, reading 8 segments of 1,000 tokens; and the seconds."""
    chat = LocalChat()
    with tempfile.TemporaryDirectory() as folder, MemoryAgent(chat, budget=Budget(segment=1000, memory=128)) as agent:
        with text_document("warm up") as document:
            agent.ask("What is this?", document)
        before = chat.engine_seconds
        with text_document(text(30_000)) as document, clock() as seconds:
            agent.ask("Who is Anna Pavlovna?", document, run=Path(folder))
        return (chat.engine_seconds - before) / seconds[0], seconds[0]


def main() -> None:
    share, seconds = local()
    figure("loop: wall time inside the engine, local", f"{share:.2%} of {seconds:.1f} s", "goal: at least 98 %")
    figure("loop: scripted chat, journal, fsync off", f"{scripted(False):,.0f} turns/s", "goal: at least 200")
    figure("loop: scripted chat, journal, fsync on", f"{scripted(True):,.0f} turns/s")


if __name__ == "__main__":
    main()
