"""Conversations to learn from, and how they are put into micro-batches: by tokens, alike ones together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from memagent.train.policy import Policy

_PADDING = 0.1  # of a micro-batch, at most


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


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """B conversations as B x T tensors, and their N completion tokens as vectors."""

    ids_BT: torch.Tensor
    mask_BT: torch.Tensor
    rows_N: torch.Tensor
    """The row of each completion token, and in `places_N` the place before it, whose state predicts it."""
    places_N: torch.Tensor
    targets_N: torch.Tensor
    sampled_N: torch.Tensor
    advantages_N: torch.Tensor
    weights_N: torch.Tensor

    def to(self, device: torch.device) -> MicroBatch:
        return MicroBatch(*(getattr(self, name).to(device) for name in self.__slots__))


def merged(conversations: Iterable[Conversation]) -> list[Conversation]:
    """The same with fewer conversations: alike ones become one of their weight, and of their mean advantage.

    A loss that is linear in the weight, and in the advantage of either sign, stays what it was, and so does its
    gradient. A policy that is sure of itself says the same in most rollouts of a group.
    """
    alike: dict[tuple[object, ...], list[Conversation]] = {}
    for each in conversations:
        sign = (each.advantage > 0) - (each.advantage < 0)
        alike.setdefault((each.prompt, each.completion, sign), []).append(each)
    found = []
    for several in alike.values():
        weight = sum(each.weight for each in several)
        advantage = sum(each.weight * each.advantage for each in several) / weight
        found.append(replace(several[0], advantage=advantage, weight=weight))
    return found


def micro_batches(conversations: Sequence[Conversation], tokens: int) -> list[list[Conversation]]:
    """Cut into lists of at most so many tokens, padding counted, and hardly any of it padding.

    Conversations of about the same length come together, long ones first: what does not fit into memory shows at once.
    One that is longer than `tokens` stands alone.
    """
    batches: list[list[Conversation]] = []
    longest = real = 0
    for each in sorted(conversations, key=len, reverse=True):
        total = longest * (len(batches[-1]) + 1) if batches else 0
        if batches and total <= tokens and real + len(each) >= (1 - _PADDING) * total:
            batches[-1].append(each)
            real += len(each)
        else:
            batches.append([each])
            longest = real = len(each)
    return batches


def padding(batches: Iterable[Sequence[Conversation]]) -> float:
    """The share of the tokens processed that is padding."""
    real = total = 0
    for batch in batches:
        real += sum(map(len, batch))
        total += max(map(len, batch)) * len(batch)
    return 1 - real / total if total else 0.0


def collate(batch: Sequence[Conversation], pad: int) -> MicroBatch:
    """Tensors of a micro-batch, padded at the ends."""
    width = max(map(len, batch))
    rows = [[*each.prompt, *each.completion, *[pad] * (width - len(each))] for each in batch]
    mask = [[1] * len(each) + [0] * (width - len(each)) for each in batch]
    return MicroBatch(
        ids_BT=torch.tensor(rows),
        mask_BT=torch.tensor(mask),
        rows_N=torch.tensor([row for row, each in enumerate(batch) for _ in each.completion]),
        places_N=torch.tensor(
            [len(each.prompt) - 1 + place for each in batch for place in range(len(each.completion))]
        ),
        targets_N=torch.tensor([token for each in batch for token in each.completion]),
        sampled_N=torch.tensor([logprob for each in batch for logprob in each.logprobs]),
        advantages_N=torch.tensor([each.advantage for each in batch for _ in each.completion]),
        weights_N=torch.tensor([each.weight for each in batch for _ in each.completion], dtype=torch.float32),
    )


def logprobs(policy: Policy, batch: MicroBatch, temperature: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """The log-probabilities of the N completion tokens, and the entropies where they were drawn (without gradient).

    Logits are computed where completions are, and nowhere else.
    """
    positions_BT = torch.arange(batch.ids_BT.shape[1], device=policy.device).expand(batch.ids_BT.shape)
    hidden_BTD = policy.hidden(batch.ids_BT, batch.mask_BT, positions_BT)
    logits_NV = policy.logits(hidden_BTD[batch.rows_N, batch.places_N]) / temperature
    all_NV = torch.log_softmax(logits_NV, dim=-1)
    with torch.no_grad():
        entropies_N = -(all_NV.exp() * all_NV).sum(dim=-1)
    return all_NV.gather(1, batch.targets_N[:, None])[:, 0], entropies_N


def in_turn(parts: int, items: Sequence[list[Conversation]], rank: int = 0) -> Iterator[list[Conversation]]:
    """Deal out the items (the conversations of a group each) into so many parts, longest first to the shortest part.

    Args:
        rank: of this process. Each begins with another part, so that no part is left empty where each has few items.
    """
    dealt: list[list[Conversation]] = [[] for _ in range(parts)]
    sizes = [0] * parts
    for item in sorted(items, key=lambda each: sum(map(len, each)), reverse=True):
        least = sizes.index(min(sizes))
        dealt[least] += item
        sizes[least] += sum(map(len, item))
    yield from (dealt[(part - rank) % parts] for part in range(parts))
