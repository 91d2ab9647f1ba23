"""What a benchmark run found out: a Result an example, a Cell for each task, length, reader and metric."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from memagent.tasks.example import Unit

Status = Literal["done", "failed", "overflow"]
"""An example was read; the model failed on it (a second run tries again); or its prompt did not fit the window."""

State = Literal["answered", "not answered", "lost", "never written"]
"""What became of a fact: it is in the answer; it was held to the end but is not in the answer; it was in the memory
once and later not; it never was."""

FAULTS: tuple[State, ...] = ("never written", "lost", "not answered")
"""The earliest first."""


@dataclass(frozen=True, slots=True)
class Tracked:
    """What became of one fact of an example, read by the memory reader. Steps count from 1."""

    depth: float
    """Where it stands in the document: 0 at its beginning, 1 at its end."""
    step: int
    """The step that read it (its end, where it lies in two segments)."""
    state: State
    lost_at: int | None = None
    """The first step after which the memory no longer held it, for good; of a fact that was lost."""


@dataclass(frozen=True, slots=True)
class Result:
    """One example, read by one reader. A line of results.jsonl."""

    task: str
    length: int
    unit: Unit
    number: int
    example: str
    """A fingerprint of the whole prompt: two results with the same one are of the same example."""
    reader: str
    model: str
    status: Status
    cause: str
    """Why it failed, in a sentence; empty when it was read."""
    attempts: int
    """How often it was tried, this time included."""
    scores: dict[str, float]
    """By metric, from 0 to 1, the one to report first. All 0 when it failed."""
    question: str
    answers: tuple[str, ...]
    prediction: str
    """The completion as the model wrote it."""
    memory: str
    """The last memory; empty for other readers."""
    depths: tuple[float, ...]
    """Where each fact stands in the document, from 0 to 1; empty where facts are all over it (cwe, fwe)."""
    facts: tuple[Tracked, ...]
    """What became of each fact; of the memory reader alone."""
    tokens: int
    """Of the whole sample."""
    turns: int
    prompt_tokens: int
    completion_tokens: int
    model_seconds: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Cell:
    """The examples of one task, length and reader under one metric: score and 95 % interval from 0 to 100."""

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
    """Of all its examples together."""
    causes: dict[str, int]
    """Of the memory reader's examples with a score below 1: how many for each State. An example counts once, for the
    earliest fault: never written, else lost, else not answered."""
