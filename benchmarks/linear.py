"""Linear: the time a segment takes does not depend on how many come before it.

One text of 320 segments is read as a whole, and its ten tenths one by one: five of them before, five after, so that
the same text is read in both ways in the same run.
"""

from __future__ import annotations

from common import figure, text

from memagent import Budget, MemoryAgent, text_document
from memagent.chat.local import LocalChat

SEGMENTS, SEGMENT, MEMORY = 320, 300, 24


def read(agent: MemoryAgent, content: str, question: str) -> tuple[int, float]:
    """Segments, and the seconds of wall time spent on them."""
    with text_document(content) as document:
        turns = agent.ask(question, document).trace.memories
    return len(turns), sum(turn.completion.usage.seconds for turn in turns)


def main() -> None:
    whole = text(SEGMENTS * SEGMENT * 39 // 10)
    tenths = [whole[place * len(whole) // 10 : (place + 1) * len(whole) // 10] for place in range(10)]
    with MemoryAgent(LocalChat(), budget=Budget(segment=SEGMENT, memory=MEMORY, answer=16)) as agent:
        read(agent, tenths[0][:4000], "Warm?")
        # Another question is another prompt: nothing is found in the prefix cache.
        before = [read(agent, tenth, "What happens here?") for tenth in tenths[:5]]
        count, seconds = read(agent, whole, "What takes place?")
        after = [read(agent, tenth, "What happens here?") for tenth in tenths[5:]]
    short = sum(seconds for _, seconds in before + after) / sum(count for count, _ in before + after)
    long = seconds / count
    figure(
        f"linear: a segment of {count} against one of {before[0][0]}",
        f"{long * 1000:.0f} ms / {short * 1000:.0f} ms = {long / short:.3f}",
        "goal: within 5 %",
    )


if __name__ == "__main__":
    main()
