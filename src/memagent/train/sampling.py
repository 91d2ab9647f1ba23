"""Completions of a batch of prompts in lockstep, with the log-probability of every token that was sampled.

What prompts of one family have in common at their beginning (the rollouts of one problem at the same step: all but
the memory) is computed once. Finished rows leave the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from memagent.chat import Sampling
from memagent.records import Finish
from memagent.train.cache import BatchCache
from memagent.train.policy import Policy

_CROWD = 0.75  # rows are dropped when fewer than this share of them still run


@dataclass(slots=True)
class Sampled:
    """A completion: T tokens with their log-probabilities. The token that ended it is among them."""

    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finish: Finish = "length"


@dataclass(slots=True)
class Work:
    """Tokens of prompts: as given, and as computed, after sharing."""

    prompt_tokens: int = 0
    computed_tokens: int = 0
    sampled_tokens: int = 0

    def add(self, other: Work) -> None:
        self.prompt_tokens += other.prompt_tokens
        self.computed_tokens += other.computed_tokens
        self.sampled_tokens += other.sampled_tokens


@torch.inference_mode()
def sample(
    policy: Policy,
    prompts: Sequence[Sequence[int]],
    limits: Sequence[int],
    families: Sequence[object],
    sampling: Sampling,
    random: torch.Generator,
    work: Work | None = None,
) -> list[Sampled]:
    """Complete B prompts.

    Args:
        limits: the most tokens of each completion.
        families: prompts of the same family stand next to each other, and share their beginnings.
        random: the source of randomness; unused at temperature 0.
        work: is added to.
    """
    found = [Sampled() for _ in prompts]
    cache, mask_BT, hidden_BD = _read(policy, prompts, families, work)
    positions_B = torch.tensor([len(prompt) for prompt in prompts], device=policy.device)
    rows = list(range(len(prompts)))  # which prompt each row of the batch belongs to; -1 once it is finished
    while True:
        ids_B, logprobs_B = _draw(policy.logits(hidden_BD), sampling, random)
        for place, (row, token, logprob) in enumerate(zip(rows, ids_B.tolist(), logprobs_B.tolist(), strict=True)):
            if row < 0:
                continue
            one = found[row]
            one.ids.append(token)
            one.logprobs.append(logprob)
            if token in policy.stops:
                one.finish = "stop"
            if one.finish == "stop" or len(one.ids) >= limits[row]:
                rows[place] = -1
        left = [place for place, row in enumerate(rows) if row >= 0]
        if not left:
            break
        if len(left) < _CROWD * len(rows):
            keep = torch.tensor(left, device=policy.device)
            cache.select(keep)
            mask_BT, positions_B, ids_B = mask_BT[keep], positions_B[keep], ids_B[keep]
            rows = [rows[place] for place in left]
        mask_BT = torch.cat([mask_BT, mask_BT.new_ones(len(rows), 1)], dim=1)
        hidden_BD = policy.hidden(ids_B[:, None], mask_BT, positions_B[:, None], cache)[:, -1]
        positions_B = positions_B + 1
    if work:
        work.sampled_tokens += sum(len(one.ids) for one in found)
    return found


def _read(
    policy: Policy, prompts: Sequence[Sequence[int]], families: Sequence[object], work: Work | None
) -> tuple[BatchCache, torch.Tensor, torch.Tensor]:
    """The cache of B prompts, its mask, and the last state of each prompt, B x width."""
    cache = BatchCache()
    groups = _families(families)
    shared = [_common(prompts[start:end]) for start, end in groups]
    heads = [prompts[start][:length] for (start, _), length in zip(groups, shared, strict=True)]
    tails = [
        prompts[row][length:] for (start, end), length in zip(groups, shared, strict=True) for row in range(start, end)
    ]
    if any(shared) and len(groups) < len(prompts):
        ids, mask_BT = _padded(heads, policy)
        positions = torch.arange(ids.shape[1], device=policy.device).expand(ids.shape)
        policy.hidden(ids, mask_BT, positions, cache)
        of_family = [family for family, (start, end) in enumerate(groups) for _ in range(start, end)]
        select = torch.tensor(of_family, device=policy.device)
        cache.select(select)
        mask_BT = mask_BT[select]
    else:
        heads, tails = [], list(prompts)
        shared = [0] * len(groups)
        mask_BT = torch.ones(len(prompts), 0, dtype=torch.long, device=policy.device)
    ids, mask = _padded(tails, policy)
    begins = torch.tensor(
        [length for (start, end), length in zip(groups, shared, strict=True) for _ in range(start, end)],
        device=policy.device,
    )
    mask_BT = torch.cat([mask_BT, mask], dim=1)
    positions = begins[:, None] + torch.arange(ids.shape[1], device=policy.device)
    hidden = policy.hidden(ids, mask_BT, positions, cache)
    lasts = torch.tensor([len(tail) - 1 for tail in tails], device=policy.device)
    if work:
        work.prompt_tokens += sum(map(len, prompts))
        work.computed_tokens += sum(map(len, heads)) + sum(map(len, tails))
    return cache, mask_BT, hidden[torch.arange(len(tails), device=policy.device), lasts]


def _families(families: Sequence[object]) -> list[tuple[int, int]]:
    """The runs of equal families, as start and end."""
    borders = [place for place in range(1, len(families)) if families[place] != families[place - 1]]
    return list(zip([0, *borders], [*borders, len(families)], strict=True))


def _common(prompts: Sequence[Sequence[int]]) -> int:
    """How many tokens all the prompts begin with; at least one token of each is left."""
    first, last = min(map(tuple, prompts)), max(map(tuple, prompts))  # what these two share, all between them do
    most = min(map(len, prompts)) - 1
    return next((place for place in range(most) if first[place] != last[place]), most)


def _padded(rows: Sequence[Sequence[int]], policy: Policy) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of tokens as B x T, filled up at their ends, and the mask of what is real."""
    width = max(map(len, rows))
    ids = torch.tensor([[*row, *[policy.pad] * (width - len(row))] for row in rows], device=policy.device)
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=policy.device)
    return ids, mask


def _draw(logits_BV: torch.Tensor, sampling: Sampling, random: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """A token a row, and its log-probability among those that might have been drawn."""
    if sampling.temperature == 0:
        logprobs = torch.log_softmax(logits_BV, dim=-1)
        ids = logits_BV.argmax(dim=-1)
    else:
        logits = logits_BV / sampling.temperature
        if sampling.top_p is not None and sampling.top_p < 1:
            logits = _nucleus(logits, sampling.top_p)
        logprobs = torch.log_softmax(logits, dim=-1)
        ids = torch.multinomial(logprobs.exp(), 1, generator=random)[:, 0]
    return ids, logprobs.gather(1, ids[:, None])[:, 0]


def _nucleus(logits_BV: torch.Tensor, top_p: float) -> torch.Tensor:
    """The likeliest tokens that together have the probability `top_p`; the others cannot be drawn."""
    ordered, order = logits_BV.sort(dim=-1, descending=True)
    before = ordered.softmax(dim=-1).cumsum(dim=-1) - ordered.softmax(dim=-1)
    ordered = ordered.masked_fill(before >= top_p, -torch.inf)
    return torch.empty_like(logits_BV).scatter(1, order, ordered)
