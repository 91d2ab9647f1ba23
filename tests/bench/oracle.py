"""Scripted readers: one that writes the ideal memory and answers from it alone, and one that forgets."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from memagent import Request, ScriptedChat, Segment
from memagent.tasks.example import Example, Task

_MEMORY = re.compile(r"<memory>\n(.*)\n</memory>", re.DOTALL)
FORGOTTEN = "I forgot."


@dataclass
class Oracle:
    """Knows the examples. Recognises each by the text of a segment, and later by the memory that it wrote for it.

    `forgets` is the step, from 1, at which it forgets everything; it writes nothing from then on.
    """

    known: list[tuple[Task, Example]]
    forgets: int | None = None
    steps: dict[int, int] = field(default_factory=dict)
    written: dict[str, tuple[Task, Example]] = field(default_factory=dict)

    def __call__(self, request: Request) -> str:
        prompt = request.messages[0].content
        if request.segment:
            return self._memory(request.segment, prompt)
        found = _MEMORY.search(prompt)
        if found is None or found[1] not in self.written:
            return "\\boxed{I do not know.}"
        task, example = self.written[found[1]]
        return f"\\boxed{{{', '.join(answers(task, example, found[1]))}}}"

    def _memory(self, segment: Segment, prompt: str) -> str:
        number = next(
            place
            for place, (_, example) in enumerate(self.known)
            if example.document[segment.start : segment.end] == segment.text and example.question in prompt
        )
        task, example = self.known[number]
        self.steps[number] = self.steps.get(number, 0) + 1
        if self.forgets and self.steps[number] >= self.forgets:
            return FORGOTTEN
        read = Segment(0, segment.end, example.document[: segment.end], 1)
        [memory] = task.memories(example, [read])
        self.written[memory] = task, example
        return memory

    def chat(self, **options: object) -> ScriptedChat:
        return ScriptedChat(self, keep=False, **options)  # type: ignore[arg-type]


def answers(task: Task, example: Example, memory: str) -> Iterable[str]:
    """Return the answers that the memory alone gives."""
    if not task.placed:  # a tally, whose first words are the answers
        return [line.split(": ")[0] for line in memory.split("\n")][: len(example.answers)]
    named = [answer for answer in example.answers if answer in memory]
    if task.metrics[0] == "string_match_all":
        return named
    known = all(fact.text in memory for fact in example.facts)
    return (named or list(example.answers if known else ()))[:1]  # yes and no are in no memory, so the facts decide
