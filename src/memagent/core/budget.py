"""Token budgets for the parts of a prompt, and the check that they fit the model's window."""

from __future__ import annotations

from dataclasses import dataclass

from memagent.errors import BudgetError


@dataclass(frozen=True, slots=True)
class Budget:
    """Token budgets. The defaults are the paper's for an 8K window (arXiv 2507.02259)."""

    question: int = 1024
    segment: int = 5000
    memory: int = 1024
    answer: int = 1024

    def __post_init__(self) -> None:
        for name in ("question", "segment", "memory", "answer"):
            if getattr(self, name) < 1:
                raise BudgetError(f"The {name} budget is {getattr(self, name)} tokens; give at least 1.")

    def check(self, question: int, update: int, answer: int, window: int | None) -> None:
        """Refuse a question or a budget that cannot fit, before the first call.

        Args:
            question: tokens of the question.
            update: tokens of the memory prompt with the question and the chat template, but without segment and memory.
            answer: tokens of the answer prompt, counted in the same way.
            window: tokens that the model can hold, prompt and completion together; None if unknown.

        Raises:
            BudgetError: something is too long; the message says by how many tokens.
        """
        if question > self.question:
            raise BudgetError(
                f"The question has {question:,} tokens, {question - self.question:,} more than its budget of "
                f"{self.question:,}: shorten it, or raise --question-tokens."
            )
        if window is None:
            return
        step = update + self.memory + self.segment + self.memory
        final = answer + self.memory + self.answer
        if max(step, final) > window:
            what = (
                f"{self.segment:,} for the segment and twice {self.memory:,} for the memory"
                if step >= final
                else f"{self.memory:,} for the memory and {self.answer:,} for the answer"
            )
            raise BudgetError(
                f"The budget is {max(step, final) - window:,} tokens larger than the model's window of {window:,}: "
                f"{update if step >= final else answer:,} for the question and the template, {what}; lower "
                "--segment-tokens, --memory-tokens or --answer-tokens."
            )
