"""Problems to train a policy on. Each can be attempted again and again, and each attempt gets a reward.

An attempt is a reading, a generator that yields Requests and is sent Completions. If you write such a generator and a
reward, this trainer can train a policy on it. `MemoryProblems` makes a memory agent's Problems from any Task.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from statistics import fmean
from typing import Protocol

from memagent.core.budget import Budget
from memagent.core.prompts import Prompts
from memagent.core.quoting import squeezed
from memagent.core.reading import Reading
from memagent.core.records import Request, Segment, Trace
from memagent.core.scoring import EVERY, METRICS
from memagent.core.segments import Cut, segments
from memagent.core.tokenizer import Tokenizer
from memagent.readers import find_reader, memory_of
from memagent.rl.assembler import Assembler, Whole, of_facts
from memagent.rl.oracle import Collector, Overwriter, slipping
from memagent.tasks.example import Example, Length, Task, generator
from memagent.tasks.practice.colours import ColourTask


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem to be solved in one or more conversations."""

    name: str
    begin: Callable[[], Reading]
    """Begins a new attempt. The reward scores the value that the attempt returns."""
    reward: Callable[[str, Trace], float]
    """Returns the reward of a finished attempt, from 0 to 1, for its value and trace."""
    ideal: Callable[[Request], str] | None = None
    """Returns the reply of a perfect policy, for the warm start. None if nobody knows it."""
    slip: Callable[[Request, str], str] = lambda request, ideal: ideal
    """Returns the reply of an imperfect policy instead of the ideal reply. The reading goes on from it, so that the
    policy sees memories as they look in use, but learns only the ideal replies."""


class Problems(Protocol):
    """An endless source of problems. The same number always gives the same problem."""

    def problem(self, number: int) -> Problem: ...


@dataclass(frozen=True, slots=True)
class MemoryProblems:
    """Problems made from a task's examples, which are read segment by segment into one memory.

    Args:
        seed: seed of the examples.
        prompts: prompts to draw from, once for each document.
        metric: name in `memagent.core.scoring.METRICS`; None for the task's first metric.
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
    """Name in `memagent.readers.READERS`."""
    boxed: bool = True
    """Whether ideal replies put the answer in a box."""
    first: int = 0
    """Number of the task's first example."""
    many: int | None = None
    """Number of examples before they repeat; None if they never do."""
    every: int = 1
    """Step from one example's number to the next."""
    skips: float = 1.0
    """Of the segments that add nothing, the share with the ideal reply NO CHANGE, for readers with a gate."""
    brevity: float = 0.0
    """Share of a reward that is lost if every reply before the answer has the maximum length."""
    slips: tuple[float, ...] = (0.0,)
    """Shares of segments in which a collected memory gets an unhelpful sentence; one share is drawn per problem."""

    def problem(self, number: int) -> Problem:
        number = self.first + self.every * (number if self.many is None else number % self.many)
        prompts = generator("prompts", self.length, number // self.task.together, self.seed).choice(self.prompts)
        example = self.task.example(self.length, number, self.seed, self.tokenizer)
        pieces = list(segments([example.document], self.budget.segment, self.tokenizer, self.cut))
        score = METRICS[self._score]
        perfect = self._perfect(example, pieces)
        draw = generator("slips", self.length, number, self.seed)
        share = draw.choice(self.slips)
        return Problem(
            f"{self.task.name}-{self.length}-{number}",
            lambda: find_reader(self.reader)(example.question, pieces, self.budget, prompts),
            lambda answer, trace: score(answer, example.answers) * (1 - self.brevity * written(trace)),
            perfect.reply if perfect else None,
            slipping(perfect, example.question, share, draw) if share and perfect else lambda request, text: text,
        )

    def _perfect(self, example: Example, pieces: Sequence[Segment]) -> Overwriter | None:
        """Return the perfect reader of an example, if there is one.

        There is none for facts all over the document, as in counting words, unless the reader is `overwrite`, `extract`
        or one that collects quotes.
        """
        facts = sorted((*getattr(example, "replaced", ()), *example.facts), key=lambda fact: fact.start)
        keys = {squeezed(fact.text): fact.key for fact in facts}
        right = ", ".join(example.answers if self._score in EVERY else example.answers[:1])
        memories = list(self.task.memories(example, pieces))
        known = (pieces, memories, right, self.boxed, example.question, keys)
        memory = memory_of(self.reader)
        if memory == "collect":
            return Collector(*known)
        if self.reader in ("overwrite", "extract"):
            return Overwriter(*known)
        if not self.task.placed:
            return None
        whole = of_facts(facts, bool(getattr(example, "replaced", ())))
        if isinstance(self.task, ColourTask):
            alone = cache(lambda segment: list(self.task.memories(example, [segment]))[-1])
            whole = Whole(alone, partial(self.task.joined, example))
        return Assembler(*known, whole, self.skips if memory == "gated" else 0.0)

    @property
    def _score(self) -> str:
        return self.metric or self.task.metrics[0]


def written(trace: Trace) -> float:
    """Return the mean length of the replies before the answer, as a share of their token limits: from 0 to 1.

    An empty reply counts as one of maximum length, because it is a failure.
    """
    turns = [turn for turn in trace.turns if turn.request.kind != "answer"]
    shares = [
        turn.completion.usage.completion_tokens / turn.request.max_tokens if turn.completion.text.strip() else 1.0
        for turn in turns
    ]
    return fmean(shares) if shares else 0.0
