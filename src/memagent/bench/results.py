"""The results of a benchmark run: a Result for each example; a Cell for each task, length, reader and metric."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from memagent.tasks.example import Unit

Status = Literal["done", "failed", "overflow"]
"""Outcome of an example: it was read; the model failed on it (a second run retries it); or it overflowed the window."""

State = Literal["answered", "not answered", "lost", "never written"]
"""Fate of a fact: it is in the answer; it was in the last memory but is not in the answer; it was in an earlier memory
and was lost; or it was never in a memory."""

FAULTS: tuple[State, ...] = ("never written", "lost", "not answered")
"""Faults, the earliest first."""


@dataclass(frozen=True, slots=True)
class Tracked:
    """Fate of one fact of an example that the memory reader read. Steps count from 1."""

    depth: float
    """Position of the fact in the document: 0 at its beginning, 1 at its end."""
    step: int
    """Step that read the fact, or its end if it lies in two segments."""
    state: State
    lost_at: int | None = None
    """For a lost fact, the first step after which the memory never held it again."""


@dataclass(frozen=True, slots=True)
class Result:
    """One example read by one reader: a line of results.jsonl."""

    task: str
    length: int
    unit: Unit
    number: int
    example: str
    """Fingerprint of the whole prompt and its answers. Results of the same example have the same fingerprint."""
    reader: str
    model: str
    status: Status
    cause: str
    """Reason why the example was not read, in a sentence; empty if it was read."""
    attempts: int
    """Number of attempts, including this one."""
    scores: dict[str, float]
    """Scores by metric, from 0 to 1, main metric first. All are 0 if the example failed."""
    question: str
    answers: tuple[str, ...]
    prediction: str
    """Completion as the model wrote it."""
    memory: str
    """Last memory; empty for readers without a memory."""
    depths: tuple[float, ...]
    """Position of each fact in the document, from 0 to 1; empty if facts are all over it (cwe, fwe)."""
    facts: tuple[Tracked, ...]
    """Fate of each fact; only for readers with a memory."""
    tokens: int
    """Number of tokens of the whole sample."""
    turns: int
    prompt_tokens: int
    completion_tokens: int
    model_seconds: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Cell:
    """The score of one task, length and reader under one metric, with its 95 % interval, from 0 to 100."""

    task: str
    length: int
    unit: Unit
    reader: str
    model: str
    metric: str
    score: float
    low: float
    high: float
    samples: int
    failed: int
    overflow: int
    tokens: float
    """Mean tokens of a sample."""
    prompt_tokens: int
    completion_tokens: int
    """Completion tokens of all examples together, as for `prompt_tokens`."""
    causes: dict[str, int]
    """Number of the memory reader's examples with a score below 1, by State. An example counts once, for its earliest
    fault: never written, else lost, else not answered."""
