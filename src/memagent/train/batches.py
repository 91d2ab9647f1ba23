"""Conversations to learn from, and how they are put into micro-batches: by tokens, alike ones together.

Conversations that share most of their prompts (section-first: all that are about one section) are packed with what
they share, which is computed once, forward and backward. A row of a micro-batch holds several short ones, one behind
the other, none of which sees another.
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
    """The rows of a micro-batch, whose prompts have the first `shared` tokens in common."""

    rows: list[list[Conversation]]
    """Of each the conversations in it, one behind the other."""
    shared: int = 0

    @property
    def conversations(self) -> list[Conversation]:
        return [each for row in self.rows for each in row]

    @property
    def width(self) -> int:
        """Of the rows, in tokens."""
        return max(sum(len(each) - self.shared for each in row) for row in self.rows)

    @property
    def real(self) -> int:
        """Tokens that are computed, padding left out."""
        return self.shared + sum(len(each) - self.shared for each in self.conversations)

    @property
    def total(self) -> int:
        """The same with padding."""
        return self.shared + self.width * len(self.rows)


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """B rows of conversations as S shared tokens and B x T others, and their N completion tokens as vectors."""

    shared_S: torch.Tensor
    ids_BT: torch.Tensor
    turns_BT: torch.Tensor
    """Which conversation of its row a token belongs to, from 0 on; -1 is padding."""
    positions_BT: torch.Tensor
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
    """Longest first, each into the first row with room for it. Another row is begun where that pads little, or less
    than another pack would have to compute again."""
    packs: list[Pack] = []
    rooms: list[int] = []  # left in the rows of the last pack
    width = real = 0
    for each in sorted(conversations, key=len, reverse=True):
        own = len(each) - shared
        total = shared + width * (len(rooms) + 1)
        if own <= max(rooms, default=-1):
            place = next(place for place, room in enumerate(rooms) if own <= room)
            packs[-1].rows[place].append(each)
            rooms[place] -= own
        elif packs and total <= tokens and (width - own <= shared or real + own >= (1 - _PADDING) * total):
            packs[-1].rows.append([each])
            rooms.append(width - own)
        else:
            packs.append(Pack([[each]], shared))
            width, rooms, real = own, [0], shared
        real += own
    return packs


def collate(pack: Pack, pad: int) -> MicroBatch:
    """Tensors of a micro-batch, padded at the ends."""
    batch, shared, width = pack.conversations, pack.shared, pack.width
    ids: list[list[int]] = []
    turns: list[list[int]] = []
    positions: list[list[int]] = []
    rows_N: list[int] = []
    places_N: list[int] = []
    for number, row in enumerate(pack.rows):
        held: list[int] = []
        whose: list[int] = []
        where: list[int] = []
        for turn, each in enumerate(row):
            own = len(each) - shared
            before = len(held) + len(each.prompt) - shared - 1  # the token that predicts the first of the completion
            rows_N += [number] * len(each.completion)
            places_N += range(before, before + len(each.completion))
            held += each.prompt[shared:] + each.completion
            whose += [turn] * own
            where += range(shared, shared + own)
        left = width - len(held)
        ids.append(held + [pad] * left)
        turns.append(whose + [-1] * left)
        # Padding goes on counting: transformers takes a step back for the beginning of another text.
        positions.append([*where, *range(where[-1] + 1, where[-1] + 1 + left)])
    return MicroBatch(
        shared_S=torch.tensor(batch[0].prompt[:shared], dtype=torch.long),
        ids_BT=torch.tensor(ids),
        turns_BT=torch.tensor(turns),
        positions_BT=torch.tensor(positions),
        rows_N=torch.tensor(rows_N),
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
    shared = len(batch.shared_S)
    cache = mask = None
    if shared:
        cache = DynamicCache()
        places = torch.arange(shared, device=policy.device)[None]
        policy.hidden(batch.shared_S[None], None, places, cache)
        cache.batch_repeat_interleave(len(batch.ids_BT))
    if shared or batch.turns_BT.max() > 0:  # else each row is one conversation, which padding follows: causal will do
        mask = _seen(batch.turns_BT, shared)
    hidden_BTD = policy.hidden(batch.ids_BT, mask, batch.positions_BT, cache)
    logits_NV = policy.logits(hidden_BTD[batch.rows_N, batch.places_N]) / temperature
    all_NV = torch.log_softmax(logits_NV, dim=-1)
    with torch.no_grad():
        entropies_N = -(all_NV.exp() * all_NV).sum(dim=-1)
    return all_NV.gather(1, batch.targets_N[:, None])[:, 0], entropies_N


def _seen(turns_BT: torch.Tensor, shared: int) -> torch.Tensor:
    """What each token attends to, B x 1 x T x (S + T): all that is shared, and what came before it of its own."""
    rows, width = turns_BT.shape
    own = (turns_BT[:, :, None] == turns_BT[:, None, :]).tril()
    return torch.cat([own.new_ones(rows, width, shared), own], dim=2)[:, None]


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
