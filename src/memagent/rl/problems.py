"""What a policy is trained on: Problems. Each can be attempted again and again, and an attempt has a reward.

An attempt is a generator that yields Requests and is sent Completions, as THE LOOP is: whoever writes such a generator
and a reward trains it with this trainer. `MemoryProblems` makes the Problems of a memory agent from any Task.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from memagent.core.budget import Budget
from memagent.core.prompts import Prompts
from memagent.core.quoting import squeezed
from memagent.core.reading import Reading
from memagent.core.records import Request, Trace
from memagent.core.scoring import EVERY, METRICS
from memagent.core.segments import Cut, segments
from memagent.core.tokenizer import Tokenizer
from memagent.readers import find_reader
from memagent.rl.oracle import Collector, Overwriter, slipping
from memagent.tasks.example import Length, Task, generator


@dataclass(frozen=True, slots=True)
class Problem:
    """Something to be solved by one or more conversations."""

    name: str
    begin: Callable[[], Reading]
    """A new attempt. Its value in the end is what is rewarded."""
    reward: Callable[[str, Trace], float]
    """Of a finished attempt's value, from 0 to 1."""
    ideal: Callable[[Request], str] | None = None
    """What a perfect policy would reply; for the warm start. None where nobody knows."""
    slip: Callable[[Request, str], str] = lambda request, ideal: ideal
    """What an imperfect policy would reply instead of the ideal: the reading goes on from there. Only the ideal is
    learnt from, so that a policy meets memories as they become in use."""


class Problems(Protocol):
    """A source of problems without end: the same number is the same problem."""

    def problem(self, number: int) -> Problem: ...


@dataclass(frozen=True, slots=True)
class MemoryProblems:
    """A task's examples, read segment by segment into one memory.

    Args:
        seed: of the examples.
        prompts: one is drawn for each document.
        metric: in `memagent.core.scoring.METRICS`; None is the task's first.
    """

    task: Task
    length: Length
    seed: int
    tokenizer: Tokenizer
    prompts: Sequence[Prompts]
    budget: Budget
    cut: Cut = "natural"
    metric: str | None = None
    reader: str = "overwrite"
    """In `memagent.readers.READERS`."""
    boxed: bool = True
    """Whether an ideal answer stands in a box."""
    first: int = 0
    """The task's examples from this one on."""
    many: int | None = None
    """So many of them, again and again; None is all there ever are."""
    every: int = 1
    """Of the task's examples, each with a number that this divides."""
    slips: tuple[float, ...] = (0.0,)
    """How often a collected memory gets a sentence that does not help, a share of the sections; drawn for a problem."""

    def problem(self, number: int) -> Problem:
        number = self.first + self.every * (number if self.many is None else number % self.many)
        prompts = generator("prompts", self.length, number // self.task.together, self.seed).choice(self.prompts)
        example = self.task.example(self.length, number, self.seed, self.tokenizer)
        pieces = list(segments([example.document], self.budget.segment, self.tokenizer, self.cut))
        metric = self.metric or self.task.metrics[0]
        score = METRICS[metric]
        memories = list(self.task.memories(example, pieces))
        right = ", ".join(example.answers if metric in EVERY else example.answers[:1])
        perfection = Collector if self.reader == "collect" else Overwriter
        facts = (*getattr(example, "replaced", ()), *example.facts)
        keys = {squeezed(fact.text): fact.key for fact in facts}
        perfect = perfection(pieces, memories, right, self.boxed, example.question, keys)
        draw = generator("slips", self.length, number, self.seed)
        share = draw.choice(self.slips)
        return Problem(
            f"{self.task.name}-{self.length}-{number}",
            lambda: find_reader(self.reader)(example.question, pieces, self.budget, prompts),
            lambda answer, trace: score(answer, example.answers),
            perfect.reply,
            slipping(perfect, example.question, share, draw) if share else lambda request, text: text,
        )
