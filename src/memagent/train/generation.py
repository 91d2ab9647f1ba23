"""Completions of a batch of prompts in lockstep, with the log-probability of every sampled token.

A prefix that prompts share is computed and stored once; with section-first prompts, all prompts about one section share
it. Identical prompts are one row of the batch until their completions differ; then the row forks. A growing
conversation continues from its kept cache. Finished rows leave the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate

import torch
from transformers import DynamicCache

from memagent.core.records import Finish
from memagent.models.chat import Sampling
from memagent.train.attention import Trunk
from memagent.train.cache import BatchCache, Kept
from memagent.train.policy import Policy
from memagent.train.prefixes import alike

_CROWD = 0.75  # finished rows are dropped when fewer than this share still run


@dataclass(slots=True)
class Sampled:
    """A completion: T tokens with their log-probabilities, including the token that ended it."""

    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finish: Finish = "length"
    kept: Kept | None = None
    """Cache of prompt and completion, if `sample` was told to keep it."""


@dataclass(slots=True)
class Work:
    """Counts of prompt tokens as given, of prompt tokens computed after sharing, and of sampled tokens."""

    prompt_tokens: int = 0
    computed_tokens: int = 0
    sampled_tokens: int = 0


@torch.inference_mode()
def sample(
    policy: Policy,
    prompts: Sequence[Sequence[int]],
    limits: Sequence[int],
    sampling: Sampling,
    random: torch.Generator,
    work: Work | None = None,
    kept: Sequence[Kept | None] | None = None,
) -> list[Sampled]:
    """Complete B prompts.

    Args:
        limits: the token limit of each completion.
        random: source of randomness; unused at temperature 0.
        work: counts to add to.
        kept: the cache that each prompt may continue from. If given, completions keep their caches too.
    """
    policy.perform()
    found = [Sampled() for _ in prompts]
    distinct = sorted(set(map(tuple, prompts)))
    row_of = {prompt: row for row, prompt in enumerate(distinct)}
    rows = [row_of[tuple(prompt)] for prompt in prompts]
    of_row = dict(zip(rows, kept, strict=True)) if kept is not None else {}
    held = [of_row[row] for row in range(len(distinct))] if kept is not None else None
    cache, trunks, mask_BT, hidden_BD = _read(policy, distinct, work, held)
    positions_B = torch.tensor([len(prompt) for prompt in distinct], device=policy.device)
    live = list(enumerate(rows))  # unfinished prompts, each with its row of the batch
    while True:
        drawn = _draw(policy.logits(hidden_BD), [row for _, row in live], sampling, random)
        going: list[tuple[int, int, int]] = []
        for (number, row), token, logprob in zip(live, *drawn, strict=True):
            one = found[number]
            one.ids.append(token)
            one.logprobs.append(logprob)
            if token in policy.stops:
                one.finish = "stop"
            if one.finish != "stop" and len(one.ids) < limits[number]:
                going.append((number, row, token))
            elif kept is not None:
                one.kept = cache.keep(row, [*prompts[number], *one.ids[:-1]], mask_BT[row])
        if not going:
            break
        live, ids, chosen = _rows(going, len(hidden_BD), policy.pad)
        if chosen is not None:
            chosen_B = torch.tensor(chosen, device=policy.device)
            cache.select(chosen_B)
            mask_BT, positions_B = mask_BT[chosen_B], positions_B[chosen_B]
            trunks = _chosen(trunks, chosen)
        ids_B = torch.tensor(ids, device=policy.device)
        mask_BT = torch.cat([mask_BT, mask_BT.new_ones(len(ids), 1)], dim=1)
        hidden_BD = policy.hidden(ids_B[:, None], mask_BT, positions_B[:, None], cache, trunks)[:, -1]
        positions_B = positions_B + 1
    if work:
        work.prompt_tokens += sum(map(len, prompts))
        work.sampled_tokens += sum(len(one.ids) for one in found)
    return found


def _rows(
    going: Sequence[tuple[int, int, int]], many: int, pad: int
) -> tuple[list[tuple[int, int]], list[int], list[int] | None]:
    """The rows of the next step.

    Args:
        going: each unfinished prompt, its row, and its next token.
        many: number of old rows.

    Returns:
        The unfinished prompts with their new rows; the next token of each row; and the old row of each new one, in
        ascending order. The last is None if the batch stays as it is, because no row forks and most rows go on.
    """
    ends = sorted({(row, token) for _, row, token in going})
    token_of = dict(ends)
    if len(token_of) == len(ends) >= _CROWD * many:
        return [(number, row) for number, row, _ in going], [token_of.get(row, pad) for row in range(many)], None
    place_of = {end: place for place, end in enumerate(ends)}
    live = [(number, place_of[row, token]) for number, row, token in going]
    return live, [token for _, token in ends], [row for row, _ in ends]


def _read(
    policy: Policy, prompts: Sequence[Sequence[int]], work: Work | None, kept: Sequence[Kept | None] | None
) -> tuple[BatchCache, list[Trunk], torch.Tensor, torch.Tensor]:
    """The cache of B sorted prompts, their shared prefixes, the cache's mask, and each prompt's last state, B x width.

    Args:
        kept: the cache that each prompt may continue from. If given, prompts share nothing.
    """
    cache = BatchCache()
    trunks: list[Trunk] = []
    begins = [0] * len(prompts)
    held = 0  # tokens of the longest row in the cache
    if kept is not None:
        if any(kept):
            begins = _go_on(cache, prompts, kept)
            held = max(begins)
    else:
        trunks, begins = _trunks(policy, prompts)
    tails = [prompt[begin:] for prompt, begin in zip(prompts, begins, strict=True)]
    ids, mask = _padded(tails, policy)
    begins_B = torch.tensor(begins, device=policy.device)
    before = torch.arange(held, device=policy.device) < begins_B[:, None]
    mask_BT = torch.cat([before.long(), mask], dim=1)
    positions = begins_B[:, None] + torch.arange(ids.shape[1], device=policy.device)
    hidden = policy.hidden(ids, mask_BT, positions, cache, trunks)
    lasts = torch.tensor([len(tail) - 1 for tail in tails], device=policy.device)
    if work:
        work.computed_tokens += sum(map(len, tails)) + sum(begins[trunk.start] for trunk in trunks)
    return cache, trunks, mask_BT, hidden[torch.arange(len(tails), device=policy.device), lasts]


def _trunks(policy: Policy, prompts: Sequence[Sequence[int]]) -> tuple[list[Trunk], list[int]]:
    """Compute shared prefixes. Returns them, none if nothing is shared, and the prefix length of each prompt."""
    runs = list(alike(prompts))
    if not any(shared for _, _, shared in runs):
        return [], [0] * len(prompts)
    computed = {}
    for start, _, shared in runs:
        if shared:
            cache = DynamicCache()
            ids = torch.tensor([prompts[start][:shared]], device=policy.device)
            policy.hidden(ids, None, torch.arange(shared, device=policy.device)[None], cache)
            computed[start] = [(layer.keys, layer.values) for layer in cache.layers]
    empty = [(keys[:, :, :0], values[:, :, :0]) for keys, values in next(iter(computed.values()))]
    trunks = [Trunk(start, end, computed.get(start, empty)) for start, end, _ in runs]
    return trunks, [shared for start, end, shared in runs for _ in range(start, end)]


def _chosen(trunks: Sequence[Trunk], rows: Sequence[int]) -> list[Trunk]:
    """The trunks of a batch that consists of these rows, which are in ascending order."""
    counts = [sum(trunk.start <= row < trunk.end for row in rows) for trunk in trunks]
    ends = list(accumulate(counts))
    return [
        Trunk(end - count, end, trunk.layers) for trunk, count, end in zip(trunks, counts, ends, strict=True) if count
    ]


def _go_on(cache: BatchCache, prompts: Sequence[Sequence[int]], kept: Sequence[Kept | None]) -> list[int]:
    """Fill the cache with what was kept of each prompt. Returns the number of tokens for each prompt."""
    known = next(each for each in kept if each)
    empty = Kept((), [(keys[:, :0], values[:, :0]) for keys, values in known.layers])
    rows = [each or empty for each in kept]
    begins = [row.common(prompt) for row, prompt in zip(rows, prompts, strict=True)]
    cache.fill(rows, begins)
    return begins


def _padded(rows: Sequence[Sequence[int]], policy: Policy) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of tokens as B x T, padded at their ends, and the mask of real tokens."""
    width = max(map(len, rows))
    ids = torch.tensor([[*row, *[policy.pad] * (width - len(row))] for row in rows], device=policy.device)
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=policy.device)
    return ids, mask


def _draw(
    logits_BV: torch.Tensor, rows: Sequence[int], sampling: Sampling, random: torch.Generator
) -> tuple[list[int], list[float]]:
    """Draw a token for each prompt; `rows` are their rows. Returns the tokens and their log-probabilities."""
    rows_N = torch.tensor(rows, device=logits_BV.device)
    if sampling.temperature == 0:
        logprobs_BV = torch.log_softmax(logits_BV, dim=-1)
        ids_N = logits_BV.argmax(dim=-1)[rows_N]
    else:
        logits_BV = logits_BV / sampling.temperature
        if sampling.top_p is not None and sampling.top_p < 1:
            logits_BV = _nucleus(logits_BV, sampling.top_p)
        logprobs_BV = torch.log_softmax(logits_BV, dim=-1)
        ids_N = _at_random(logprobs_BV.exp()[rows_N], random)
    return ids_N.tolist(), logprobs_BV[rows_N, ids_N].tolist()


def _at_random(probabilities_NV: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """Draw one of V for each of N. `torch.multinomial` would draw N x V numbers, which takes longer than a layer."""
    below_NV = probabilities_NV.double().cumsum(dim=-1)
    drawn_N = torch.rand(len(below_NV), generator=random, dtype=below_NV.dtype, device=below_NV.device)
    places_N1 = torch.searchsorted(below_NV, (drawn_N * below_NV[:, -1])[:, None], right=True)
    return places_N1[:, 0].clamp(max=below_NV.shape[1] - 1)


def _nucleus(logits_BV: torch.Tensor, top_p: float) -> torch.Tensor:
    """Logits without all but the likeliest tokens, which together have the probability `top_p`."""
    ordered, order = logits_BV.sort(dim=-1, descending=True)
    before = ordered.softmax(dim=-1).cumsum(dim=-1) - ordered.softmax(dim=-1)
    ordered = ordered.masked_fill(before >= top_p, -torch.inf)
    return torch.empty_like(logits_BV).scatter(1, order, ordered)
