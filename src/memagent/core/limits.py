"""Limits on the tokens and the money that a run may spend."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from memagent.core.records import Usage
from memagent.errors import LimitReached, UsageError


@dataclass(frozen=True, slots=True)
class Price:
    """Prices per million tokens, in any currency."""

    prompt: float
    completion: float

    def __post_init__(self) -> None:
        if not (0 <= self.prompt < inf and 0 <= self.completion < inf):
            raise UsageError("A price must be 0 or more.")

    def of(self, usage: Usage) -> float:
        return (usage.prompt_tokens * self.prompt + usage.completion_tokens * self.completion) / 1e6


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that a run may spend, including what it spent before it was resumed."""

    max_tokens: int | None = None
    max_cost: float | None = None
    price: Price | None = None

    def __post_init__(self) -> None:
        if self.max_cost is not None and self.price is None:
            raise UsageError("--max-cost needs prices: give --price PROMPT/COMPLETION per million tokens.")

    @property
    def any(self) -> bool:
        return self.max_tokens is not None or self.max_cost is not None

    def check(self, spent: Usage, coming: Usage) -> None:
        """Refuse the `coming` turns if they could take the run over a limit.

        Raises:
            LimitReached: the message says how much was spent.
        """
        most = spent + coming
        if self.max_tokens is not None and most.total_tokens > self.max_tokens:
            raise LimitReached(
                f"Stopped at {spent.total_tokens:,} tokens: the next turn could go over --max-tokens "
                f"{self.max_tokens:,}; raise it and run the same command to resume."
            )
        if self.max_cost is not None and self.price is not None and self.price.of(most) > self.max_cost:
            raise LimitReached(
                f"Stopped at a cost of {self.price.of(spent):.4f}: the next turn could go over --max-cost "
                f"{self.max_cost:g}; raise it and run the same command to resume."
            )
