"""Compares four questions on one document asked together and one after another, in both layouts."""

from __future__ import annotations

from common import clock, figure, text

from memagent import Budget, MemoryAgent, text_document
from memagent.core.prompts import Layout
from memagent.models.local import LocalChat

QUESTIONS = ["Who is Anna Pavlovna?", "Who is Prince Vasili?", "What does Pierre want?", "Where are they?"]


def seconds_for(layout: Layout, groups: list[list[str]]) -> float:
    """Return the seconds to answer each group of questions, one group after another, on a new engine."""
    with MemoryAgent(LocalChat("tiny"), budget=Budget(segment=3000, memory=96, answer=32), layout=layout) as agent:
        with text_document("Warm up.") as document:
            agent.ask("What is this?", document)
        content = text(4 * 12_500)
        with clock() as seconds:
            for group in groups:
                with text_document(content) as document:
                    agent.ask_many(group, document)
        return seconds[0]


def main() -> None:
    alone = seconds_for("paper", [[question] for question in QUESTIONS])
    for layout, goal in (("paper", "goal: faster"), ("section-first", "goal: at most 45 %")):
        together = seconds_for(layout, [QUESTIONS])  # type: ignore[arg-type]
        same = alone if layout == "paper" else seconds_for("section-first", [[question] for question in QUESTIONS])
        figure(
            f"questions: 4 together / 4 in turn, {layout}",
            f"{together:.1f} s / {same:.1f} s = {together / same:.0%}",
            f"{goal}; of the paper layout in turn {together / alone:.0%}",
        )


if __name__ == "__main__":
    main()
