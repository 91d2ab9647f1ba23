"""Conversations to learn from: prompts and completions as tokens, and the values that the loss needs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Conversation:
    """A prompt, a completion of T tokens, and the values that the loss needs."""

    prompt: tuple[int, ...]
    completion: tuple[int, ...]
    logprobs: tuple[float, ...] = ()
    """Log-probabilities of the completion's tokens when they were sampled; empty for supervised training."""
    advantage: float = 0.0
    weight: float = 1.0
    """Weight of each token in the completion."""

    def __len__(self) -> int:
        return len(self.prompt) + len(self.completion)


def merged(conversations: Iterable[Conversation]) -> list[Conversation]:
    """Merge identical conversations with advantages of the same sign: their weights add up, their advantages average.

    A loss that is linear in the weight, and in advantages of one sign, keeps its value and its gradient. This saves
    work, because a confident policy writes the same completion in most rollouts of a group.
    """
    same: dict[tuple[object, ...], list[Conversation]] = {}
    for each in conversations:
        sign = (each.advantage > 0) - (each.advantage < 0)
        same.setdefault((each.prompt, each.completion, sign), []).append(each)
    found = []
    for several in same.values():
        weight = sum(each.weight for each in several)
        advantage = sum(each.weight * each.advantage for each in several) / weight
        found.append(replace(several[0], advantage=advantage, weight=weight))
    return found
