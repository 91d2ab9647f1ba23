"""Conversations to learn from, and how they are put into micro-batches: by tokens, one behind the other.

What conversations share at their beginning (section-first: all that are about one section) is computed once, forward
and backward.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from memagent.rl.conversations import Conversation
from memagent.train.attention import Block
from memagent.train.policy import Policy
from memagent.train.prefixes import alike

_PADDING = 0.1  # of a micro-batch, at most


@dataclass(frozen=True, slots=True)
class Family:
    """Conversations whose prompts have the first `shared` tokens in common, in blocks of about one length."""

    blocks: list[list[Conversation]]
    """Of each the longest conversation first."""
    shared: int = 0

    @property
    def conversations(self) -> list[Conversation]:
        return [each for block in self.blocks for each in block]

    @property
    def real(self) -> int:
        """Tokens, padding left out."""
        return self.shared + sum(len(each) - self.shared for each in self.conversations)

    @property
    def total(self) -> int:
        """The same with padding."""
        return self.shared + sum(len(block) * (len(block[0]) - self.shared) for block in self.blocks)


Pack = list[Family]
"""What is computed at once."""


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """A row of T tokens, and the N of them that are completions' as vectors."""

    ids_T: torch.Tensor
    positions_T: torch.Tensor
    blocks: list[Block]
    """How the row is parted: of each family what its prompts share, then its blocks."""
    places_N: torch.Tensor
    """The place in the row before each completion token, whose state predicts it."""
    targets_N: torch.Tensor
    sampled_N: torch.Tensor
    advantages_N: torch.Tensor
    weights_N: torch.Tensor

    def to(self, device: torch.device) -> MicroBatch:
        moved = {name: getattr(self, name).to(device) for name in self.__slots__ if name != "blocks"}
        return replace(self, **moved)


def micro_batches(conversations: Sequence[Conversation], tokens: int, share: bool = True) -> list[Pack]:
    """Cut into packs of at most so many tokens, padding counted, and hardly any of it padding.

    The largest packs come first: what does not fit into memory shows at once. A conversation that is longer than
    `tokens` stands alone.

    Args:
        share: whether beginnings of prompts are computed once.
    """
    packs: list[Pack] = []
    sizes: list[int] = []
    found = _families(conversations) if share else [(list(conversations), 0)]
    families = [family for members, shared in found for family in _blocked(members, shared, tokens)]
    for family in sorted(families, key=lambda each: each.total, reverse=True):
        place = next((place for place, size in enumerate(sizes) if size + family.total <= tokens), None)
        if place is None:
            packs.append([family])
            sizes.append(family.total)
        else:
            packs[place].append(family)
            sizes[place] += family.total
    return packs


def padding(packs: Iterable[Pack]) -> float:
    """The share of the tokens computed that is padding."""
    families = [family for pack in packs for family in pack]
    total = sum(family.total for family in families)
    return 1 - sum(family.real for family in families) / total if total else 0.0


def _families(conversations: Sequence[Conversation]) -> list[tuple[list[Conversation], int]]:
    """Those that share most of their prompts, with how many tokens that is, and all that are left, with 0."""
    single: list[Conversation] = []
    found: list[tuple[list[Conversation], int]] = []
    ordered = sorted(conversations, key=lambda one: one.prompt)
    for start, end, shared in alike([each.prompt for each in ordered]):
        if shared:
            found.append((ordered[start:end], shared))
        else:
            single += ordered[start:end]
    return [*found, (single, 0)]


def _blocked(conversations: Sequence[Conversation], shared: int, tokens: int) -> Iterator[Family]:
    """Families of at most so many tokens, each in blocks that pad little."""
    blocks: list[list[Conversation]] = []
    real = total = width = 0
    for each in sorted(conversations, key=len, reverse=True):
        own = len(each) - shared
        another = not blocks or real + own < (1 - _PADDING) * (total + width)
        if blocks and total + (own if another else width) > tokens:
            yield Family(blocks, shared)
            blocks, another = [], True
        if not blocks:
            real = total = shared
        if another:
            blocks.append([])
            width = own
        blocks[-1].append(each)
        real += own
        total += width
    if blocks:
        yield Family(blocks, shared)


def collate(pack: Pack, pad: int) -> MicroBatch:
    """Tensors of a micro-batch."""
    ids: list[int] = []
    positions: list[int] = []
    blocks: list[Block] = []
    places_N: list[int] = []
    for family in pack:
        shared, first = family.shared, None
        if shared:
            first = len(blocks)
            blocks.append(Block(1, shared))
            ids += family.blocks[0][0].prompt[:shared]
            positions += range(shared)
        for block in family.blocks:
            width = len(block[0]) - shared
            blocks.append(Block(len(block), width, first))
            for each in block:
                before = len(ids) + len(each.prompt) - shared - 1
                places_N += range(before, before + len(each.completion))
                ids += each.prompt[shared:] + each.completion
                ids += [pad] * (width + shared - len(each))
                positions += range(shared, shared + width)
    batch = [each for family in pack for each in family.conversations]
    return MicroBatch(
        ids_T=torch.tensor(ids),
        positions_T=torch.tensor(positions),
        blocks=blocks,
        places_N=torch.tensor(places_N),
        targets_N=torch.tensor([token for each in batch for token in each.completion]),
        sampled_N=torch.tensor([logprob for each in batch for logprob in each.logprobs]),
        advantages_N=torch.tensor([each.advantage for each in batch for _ in each.completion]),
        weights_N=torch.tensor([each.weight for each in batch for _ in each.completion], dtype=torch.float32),
    )


def logprobs(policy: Policy, batch: MicroBatch, temperature: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """The log-probabilities of the N completion tokens, and the entropies where they were drawn (without gradient).

    Logits are computed where completions are, and nowhere else.
    """
    hidden_TD = policy.packed(batch.ids_T, batch.positions_T, batch.blocks)
    logits_NV = policy.logits(hidden_TD[batch.places_N])
    if temperature != 1:
        logits_NV = logits_NV / temperature
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
