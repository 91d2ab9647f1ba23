"""Total cost of each reader's examples: tokens, calls, time, and failed attempts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from memagent.bench.methods import METHODS
from memagent.bench.results import Result

Reader = tuple[str, str]
"""A reader and the model it reads with."""


@dataclass(slots=True)
class Totals:
    """Total cost of one reader's examples. Seconds are summed even if examples ran at the same time."""

    reader: Reader
    examples: int = 0
    failed: int = 0
    overflow: int = 0
    failed_attempts: int = 0
    """Number of attempts that the model failed on, including examples that a later attempt read."""
    turns: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    model_seconds: float = 0.0
    seconds: float = 0.0

    def add(self, result: Result) -> None:
        self.examples += 1
        self.failed += result.status == "failed"
        self.overflow += result.status == "overflow"
        self.failed_attempts += result.attempts - (result.status != "failed")
        self.turns += result.turns
        self.prompt_tokens += result.prompt_tokens
        self.completion_tokens += result.completion_tokens
        self.model_seconds += result.model_seconds
        self.seconds += result.seconds


def totals(results: Iterable[Result]) -> list[Totals]:
    """Return the Totals of each reader."""
    found: dict[Reader, Totals] = {}
    for result in results:
        reader = (result.reader, result.model)
        found.setdefault(reader, Totals(reader)).add(result)
    return [found[reader] for reader in readers_in_order(found)]


def readers_in_order(readers: Iterable[Reader]) -> list[Reader]:
    """Return each reader once, ordered by name as in METHODS; readers of the same name keep their order."""
    names = list(METHODS)
    return sorted(
        dict.fromkeys(readers), key=lambda reader: names.index(reader[0]) if reader[0] in names else len(names)
    )
