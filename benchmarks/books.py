"""Asks ten questions with a plain answer on three novels, and prints answers and citations.

Questions on the same novel are read together.
"""

from __future__ import annotations

import sys
from pathlib import Path

from common import BOOKS, clock, figure

from memagent import MemoryAgent

# A right answer holds at least one of these words.
QUESTIONS: dict[str, dict[str, tuple[str, ...]]] = {
    "the-time-machine": {
        "What is the name of the little woman whom the Time Traveller saves from drowning?": ("weena",),
        "What are the creatures that live underground called?": ("morlocks", "morlock"),
        "In which year does the Time Traveller meet the Eloi?": ("802,701", "eight hundred and two thousand"),
        "What does the Time Traveller bring back in his pocket?": ("flowers",),
    },
    "persuasion": {
        "What is the name of Sir Walter Elliot's house?": ("kellynch",),
        "Which admiral rents the house of Sir Walter Elliot?": ("croft",),
        "Who falls from the steps on the Cobb at Lyme?": ("louisa",),
    },
    "the-picture-of-dorian-gray": {
        "Who paints the portrait of Dorian Gray?": ("basil", "hallward"),
        "What is the name of the actress with whom Dorian Gray falls in love?": ("sibyl", "vane"),
        "What is the name of Sibyl Vane's brother?": ("james", "jim"),
    },
}  # fmt: skip


def read(agent: MemoryAgent, folder: Path, book: str) -> list[bool]:
    """Ask the questions on one novel in `folder` together. Returns whether each answer is right."""
    asked, found = QUESTIONS[book], []
    for answer, words in zip(agent.ask_many(list(asked), folder / f"{book}.txt.gz"), asked.values(), strict=True):
        found.append(any(word in answer.text.lower() for word in words))
        print(f"\n{book}: {answer.question}\n  {'right' if found[-1] else 'wrong'}: {answer.text!r}")
        for place in answer.citations:
            print(f"  {place.start}-{place.end}: {' '.join(place.quote.split())!r}")
    return found


def main(model: str = "local") -> None:
    with MemoryAgent(model) as agent, clock() as seconds:
        right = [each for book in QUESTIONS for each in read(agent, BOOKS, book)]
    figure("\nbooks: questions answered", f"{sum(right)} of {len(right)}", f"{seconds[0]:.0f} s")


if __name__ == "__main__":
    main(*sys.argv[1:])
