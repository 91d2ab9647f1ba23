"""Conversations to learn from: what a policy read and wrote, as tokens, and what the loss must know of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Conversation:
    """A prompt and a completion of T tokens, with what the loss must know of it."""

    prompt: tuple[int, ...]
    completion: tuple[int, ...]
    logprobs: tuple[float, ...] = ()
    """Of the completion's tokens when they were sampled; empty for supervised training."""
    advantage: float = 0.0
    weight: float = 1.0
    """Of each of its tokens."""

    def __len__(self) -> int:
        return len(self.prompt) + len(self.completion)


def merged(conversations: Iterable[Conversation]) -> list[Conversation]:
    """The same with fewer conversations: alike ones become one of their weight, and of their mean advantage.

    A loss that is linear in the weight, and in the advantage of either sign, stays what it was, and so does its
    gradient. A policy that is sure of itself says the same in most rollouts of a group.
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
