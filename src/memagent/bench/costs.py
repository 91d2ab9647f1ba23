"""What each reader's examples cost together: tokens, calls, time, failed attempts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from memagent.bench.methods import METHODS
from memagent.bench.results import Result

Reader = tuple[str, str]
"""A reader and the model it reads with."""


@dataclass(slots=True)
class Totals:
    """What one reader's examples cost together. Seconds are summed, also where examples ran side by side."""

    reader: Reader
    examples: int = 0
    failed: int = 0
    overflow: int = 0
    failed_attempts: int = 0
    """Attempts that the model failed on, also of examples that were read in the end."""
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
    """The Totals of each reader."""
    found: dict[Reader, Totals] = {}
    for result in results:
        reader = (result.reader, result.model)
        found.setdefault(reader, Totals(reader)).add(result)
    return [found[reader] for reader in readers_in_order(found)]


def readers_in_order(readers: Iterable[Reader]) -> list[Reader]:
    """Each reader once, ours first; those of one name as they come."""
    names = list(METHODS)
    return sorted(
        dict.fromkeys(readers), key=lambda reader: names.index(reader[0]) if reader[0] in names else len(names)
    )
