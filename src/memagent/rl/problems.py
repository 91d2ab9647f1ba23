"""Problems to train a policy on. Each can be attempted again and again, and each attempt gets a reward.

An attempt is a reading, a generator that yields Requests and is sent Completions. If you write such a generator and a
reward, this trainer can train a policy on it. `MemoryProblems` makes a memory agent's Problems from any Task.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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
class DocumentQuestion:
    """A question about a document, how to read the document and how to score the answer, as plain values."""

    name: str
    question: str
    document: str
    answers: tuple[str, ...]
    metric: str
    """Name of the reward in `memagent.core.scoring.METRICS`."""
    layout: str
    """Layout of the prompts, see `memagent.core.prompts.prompts_for`."""
    brevity: float = 0.0
    """See `MemoryProblems.brevity`."""


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
    source: DocumentQuestion | None = None
    """What the problem was made from, if it is a question about a document."""


def document_problem(
    source: DocumentQuestion, reader: str, budget: Budget, prompts: Prompts, pieces: Sequence[Segment]
) -> Problem:
    """Return the problem of reading a document, cut into `pieces`, to answer a question."""
    score = METRICS[source.metric]
    return Problem(
        source.name,
        lambda: find_reader(reader)(source.question, pieces, budget, prompts),
        lambda answer, trace: score(answer, source.answers) * (1 - source.brevity * written(trace)),
        source=source,
    )


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
        layout, _ = prompts.names
        name = f"{self.task.name}-{self.length}-{number}"
        source = DocumentQuestion(
            name, example.question, example.document, tuple(example.answers), self._score, layout, self.brevity
        )
        perfect = self._perfect(example, pieces)
        draw = generator("slips", self.length, number, self.seed)
        share = draw.choice(self.slips)
        slip = slipping(perfect, example.question, share, draw) if share and perfect else lambda request, text: text
        problem = document_problem(source, self.reader, self.budget, prompts, pieces)
        return replace(problem, ideal=perfect.reply if perfect else None, slip=slip)

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
