"""Conversations to learn from, and how they are put into micro-batches: by tokens, alike ones together.

Conversations that share most of their prompts (section-first: all that are about one section) are packed with what
they share, which is computed once, forward and backward.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from transformers import DynamicCache

from memagent.train.policy import Policy

_PADDING = 0.1  # of a micro-batch, at most
_SHARED = 0.5  # of a prompt, at least: what is worth being computed apart from the rest
_WORTH = 64  # tokens, too


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
class Pack:
    """Conversations of a micro-batch, whose prompts have the first `shared` tokens in common."""

    conversations: list[Conversation]
    shared: int = 0

    @property
    def real(self) -> int:
        """Tokens that are computed, padding left out."""
        return self.shared + sum(len(each) - self.shared for each in self.conversations)

    @property
    def total(self) -> int:
        """The same with padding."""
        return self.shared + (max(map(len, self.conversations)) - self.shared) * len(self.conversations)


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """B conversations as S shared tokens and B x T others, and their N completion tokens as vectors."""

    shared_S: torch.Tensor
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


def micro_batches(conversations: Sequence[Conversation], tokens: int, share: bool = True) -> list[Pack]:
    """Cut into packs of at most so many tokens, padding counted, and hardly any of it padding.

    Conversations of about the same length come together, long ones first: what does not fit into memory shows at once.
    One that is longer than `tokens` stands alone.

    Args:
        share: whether beginnings of prompts are computed once.
    """
    packs: list[Pack] = []
    for family, shared in _families(conversations) if share else [(list(conversations), 0)]:
        packs += _packed(family, shared, tokens)
    return sorted(packs, key=lambda pack: pack.total, reverse=True)


def padding(packs: Iterable[Pack]) -> float:
    """The share of the tokens processed that is padding."""
    real = total = 0
    for pack in packs:
        real += pack.real
        total += pack.total
    return 1 - real / total if total else 0.0


def _families(conversations: Sequence[Conversation]) -> list[tuple[list[Conversation], int]]:
    """Those that share most of their prompts, with how many tokens that is, and all that are left, with 0."""
    single: list[Conversation] = []
    found: list[tuple[list[Conversation], int]] = []
    family: list[Conversation] = []
    shared = 0
    for each in [*sorted(conversations, key=lambda one: one.prompt), None]:
        common = min(shared, _common(family[0].prompt, each.prompt)) if family and each else 0
        if each and common >= max(_WORTH, _SHARED * len(each.prompt)):
            family.append(each)
            shared = common
            continue
        if len(family) > 1:
            found.append((family, shared))
        else:
            single += family
        if each:
            family, shared = [each], len(each.prompt) - 1  # the last token predicts the completion's first
    return [*found, (single, 0)]


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens both begin with; the last of each is not counted."""
    most = min(len(one), len(other)) - 1
    return next((place for place in range(most) if one[place] != other[place]), most)


def _packed(conversations: Sequence[Conversation], shared: int, tokens: int) -> list[Pack]:
    packs: list[Pack] = []
    longest = real = 0
    for each in sorted(conversations, key=len, reverse=True):
        own = len(each) - shared
        total = shared + longest * (len(packs[-1].conversations) + 1) if packs else 0
        if packs and total <= tokens and real + own >= (1 - _PADDING) * total:
            packs[-1].conversations.append(each)
            real += own
        else:
            packs.append(Pack([each], shared))
            longest, real = own, len(each)
    return packs


def collate(pack: Pack, pad: int) -> MicroBatch:
    """Tensors of a micro-batch, padded at the ends."""
    batch, shared = pack.conversations, pack.shared
    width = max(map(len, batch)) - shared
    rows = [[*each.prompt[shared:], *each.completion] for each in batch]
    return MicroBatch(
        shared_S=torch.tensor(batch[0].prompt[:shared], dtype=torch.long),
        ids_BT=torch.tensor([[*row, *[pad] * (width - len(row))] for row in rows]),
        mask_BT=torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows]),
        rows_N=torch.tensor([row for row, each in enumerate(batch) for _ in each.completion]),
        places_N=torch.tensor(
            [len(each.prompt) - shared - 1 + place for each in batch for place in range(len(each.completion))]
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
    rows, width = batch.ids_BT.shape
    shared = len(batch.shared_S)
    cache, mask_BT = None, batch.mask_BT
    if shared:
        cache = DynamicCache()
        places = torch.arange(shared, device=policy.device)[None]
        policy.hidden(batch.shared_S[None], torch.ones_like(places), places, cache)
        cache.batch_repeat_interleave(rows)
        mask_BT = torch.cat([mask_BT.new_ones(rows, shared), mask_BT], dim=1)
    positions_BT = torch.arange(shared, shared + width, device=policy.device).expand(rows, width)
    hidden_BTD = policy.hidden(batch.ids_BT, mask_BT, positions_BT, cache)
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
