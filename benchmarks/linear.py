"""Linear: the time a segment takes does not depend on how many come before it.

One book is read for 320 segments and, before, between and after, its first 32 three times.
"""

from __future__ import annotations

from common import figure, text

from memagent import Budget, MemoryAgent, text_document
from memagent.chat.local import LocalChat

SEGMENT, MEMORY = 300, 24


def per_segment(agent: MemoryAgent, content: str) -> tuple[int, float]:
    """Segments, and engine seconds a segment."""
    with text_document(content) as document:
        answer = agent.ask("What happens?", document)
    turns = answer.trace.memories
    return len(turns), sum(turn.completion.usage.seconds for turn in turns) / len(turns)


def main() -> None:
    whole = text(320 * SEGMENT * 4)
    tenth = whole[: len(whole) // 10]
    with MemoryAgent(LocalChat(), budget=Budget(segment=SEGMENT, memory=MEMORY, answer=16)) as agent:
        per_segment(agent, tenth[:4000])
        short = [per_segment(agent, tenth)]
        long = [per_segment(agent, whole[: len(whole) // 2] + whole[len(whole) // 2 :])]
        short += [per_segment(agent, tenth), per_segment(agent, tenth)]
    seconds = sum(each for _, each in short) / len(short)
    count, slow = long[0]
    figure(
        f"linear: a segment of {count} against one of {short[0][0]}",
        f"{slow * 1000:.0f} ms / {seconds * 1000:.0f} ms = {slow / seconds:.3f}",
        "goal: within 5 %",
    )


if __name__ == "__main__":
    main()
