"""Micro-batches of conversations to learn from, filled by token count.

A prefix that conversations share is computed once, forward and backward. With section-first prompts, all conversations
about one segment share it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from memagent.rl.conversations import Conversation
from memagent.train.attention import Block
from memagent.train.policy import Policy
from memagent.train.prefixes import alike

_PADDING = 0.1  # largest share of padding in a micro-batch


@dataclass(frozen=True, slots=True)
class Family:
    """Conversations whose prompts share their first `shared` tokens, in blocks of similar length."""

    blocks: list[list[Conversation]]
    """Blocks of conversations; the longest conversation of a block comes first."""
    shared: int = 0

    @property
    def conversations(self) -> list[Conversation]:
        return [each for block in self.blocks for each in block]

    @property
    def real(self) -> int:
        """Number of tokens without padding."""
        return self.shared + sum(len(each) - self.shared for each in self.conversations)

    @property
    def total(self) -> int:
        """Number of tokens with padding."""
        return self.shared + sum(len(block) * (len(block[0]) - self.shared) for block in self.blocks)


Pack = list[Family]
"""Families that are computed together, as one micro-batch."""


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """A row of T tokens, and vectors over the N of them that belong to completions."""

    ids_T: torch.Tensor
    positions_T: torch.Tensor
    blocks: list[Block]
    """Layout of the row: for each family its shared prefix, then its blocks."""
    places_N: torch.Tensor
    """Position just before each completion token; the state there predicts the token."""
    targets_N: torch.Tensor
    sampled_N: torch.Tensor
    advantages_N: torch.Tensor
    weights_N: torch.Tensor

    def to(self, device: torch.device) -> MicroBatch:
        moved = {name: getattr(self, name).to(device) for name in self.__slots__ if name != "blocks"}
        return replace(self, **moved)


def micro_batches(conversations: Sequence[Conversation], tokens: int, share: bool = True) -> list[Pack]:
    """Cut conversations into packs of at most `tokens` tokens, padding included. There is hardly any padding.

    The largest packs come first, so that running out of memory shows at once. A conversation longer than `tokens`
    gets a pack of its own.

    Args:
        share: whether shared prefixes of prompts are computed once.
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
    """The share of the computed tokens that is padding."""
    families = [family for pack in packs for family in pack]
    total = sum(family.total for family in families)
    return 1 - sum(family.real for family in families) / total if total else 0.0


def _families(conversations: Sequence[Conversation]) -> list[tuple[list[Conversation], int]]:
    """Conversations grouped by their shared prefix, with its length. The last group shares nothing and has 0."""
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
    """Yield families of at most `tokens` tokens, each in blocks with little padding."""
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
    """Build the tensors of a micro-batch."""
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
    """Log-probabilities of the N completion tokens, and entropies of the distributions behind them (without gradient).

    Logits are computed only for completion tokens.
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
    """Deal out items (the conversations of one group each) to `parts` parts, longest first, each to the shortest part.

    Args:
        rank: index of this process. Each process starts with a different part, so that no part stays empty when every
            process has few items.
    """
    dealt: list[list[Conversation]] = [[] for _ in range(parts)]
    sizes = [0] * parts
    for item in sorted(items, key=lambda each: sum(map(len, each)), reverse=True):
        least = sizes.index(min(sizes))
        dealt[least] += item
        sizes[least] += sum(map(len, item))
    yield from (dealt[(part - rank) % parts] for part in range(parts))
