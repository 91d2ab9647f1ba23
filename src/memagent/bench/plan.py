"""Plans a benchmark run: its examples, readers and settings. Also holds the presets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from memagent.bench.methods import METHODS
from memagent.errors import UsageError
from memagent.tasks.example import Length, Task

_SAMPLES = 10
_PARAGRAPH = 140  # tokens, roughly

PRESETS: dict[str, dict[str, Any]] = {
    # Needs no data; takes minutes on a CPU.
    "quick": {
        "tasks": ["niah_single_1", "niah_multikey_2", "niah_multikey_3", "vt"],
        "lengths": "2k,4k",
        "samples": 3,
        "segment_tokens": 1000,
        "memory_tokens": 128,
        "answer_tokens": 128,
    },
    # The paper's general run (arXiv 2507.02259): RULER without cwe, and without qa_2, which RULER-HQA replaces.
    "ruler-paper": {
        "tasks": [
            *(f"niah_single_{number}" for number in (1, 2, 3)),
            *(f"niah_multikey_{number}" for number in (1, 2, 3)),
            *("niah_multivalue", "niah_multiquery", "vt", "fwe", "qa_1"),
        ],
        "lengths": "8k,16k,32k,64k,128k,256k,512k",
        "samples": 128,
        "cut": "tokens",
    },
    # The paper's main table: 128 HotpotQA questions among 50 to 25,600 paragraphs.
    "hqa-paper": {
        "tasks": ["hqa"],
        "lengths": ",".join(f"{50 * 2**step}p" for step in range(10)),
        "samples": 128,
        "cut": "tokens",
    },
}
"""Settings, named as options of `memagent bench`. Options on the command line override them."""


@dataclass(frozen=True, slots=True)
class Sample:
    """An example to be made for all readers."""

    task: Task
    length: Length
    number: int


@dataclass(frozen=True)
class Plan:
    """Tasks x lengths x samples x readers.

    A task gets only the lengths that it understands: lengths in paragraphs are for questions over paragraphs. Tasks of
    your own have the length of their documents. If `samples` is None, it is 10, or all questions of your own file.
    """

    tasks: Sequence[Task]
    lengths: Sequence[Length]
    samples: int | None
    readers: Sequence[str]
    seed: int = 42
    retrieve_tokens: int = 2048
    shortened: bool = False
    """Whether to leave out lengths that a task's data cannot fill, as for a preset, instead of refusing them."""
    left_out: frozenset[tuple[str, Length]] = frozenset()

    def __post_init__(self) -> None:
        for reader in self.readers:
            if reader not in METHODS:
                raise UsageError(f"There is no reader {reader}: give {', '.join(METHODS)}.")
        if len(set(self.readers)) < len(self.readers):
            raise UsageError("A reader is named twice: name it once.")
        if not self.tasks or not self.readers or (self.samples is not None and self.samples < 1):
            raise UsageError("A benchmark needs a task, a reader and at least one sample.")
        for task in self.tasks:
            if not self.lengths_of(task):
                raise UsageError(f"{task.name} needs another length: give --lengths, such as 8k.")
            if task.size is not None and task.size < self._samples(task) and "own" not in task.units:
                raise UsageError(
                    f"{task.name} has {task.size:,} examples, fewer than {self._samples(task):,} samples: "
                    "lower --samples."
                )

    def samples_in_order(self) -> Iterator[Sample]:
        """Yield the samples, short lengths before long ones, so that a table fills from the left."""
        lengths = sorted({length for task in self.tasks for length in self.lengths_of(task)}, key=in_tokens)
        for length in lengths:
            for task in self.tasks:
                if length.unit in task.units and (task.name, length) not in self.left_out:
                    for number in range(self._samples(task)):
                        yield Sample(task, length, number)

    def _samples(self, task: Task) -> int:
        if "own" in task.units and task.size is not None:
            return min(self.samples or task.size, task.size)
        return self.samples or _SAMPLES

    def lengths_of(self, task: Task) -> list[Length]:
        own = [Length(0, "own")]
        return [length for length in [*self.lengths, *own] if length.unit in task.units]


def in_tokens(length: Length) -> int:
    """Estimate a length in tokens; a paragraph counts for 140 tokens."""
    return length.value * (_PARAGRAPH if length.unit == "paragraphs" else 1)
