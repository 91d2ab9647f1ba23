"""Completions of a batch of prompts in lockstep, with the log-probability of every token that was sampled.

What prompts of one family have in common at their beginning (the rollouts of one problem at the same step: all but
the memory) is computed once. So is a prompt that several of them have, and what they say as long as they say the same:
a row of the batch stands for all of them, and forks when they part. A conversation that grows goes on from what was
kept of it. Finished rows leave the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from memagent.chat import Sampling
from memagent.records import Finish
from memagent.train.cache import BatchCache, Kept
from memagent.train.policy import Policy

_CROWD = 0.75  # rows are dropped when fewer than this share of them still run


@dataclass(slots=True)
class Sampled:
    """A completion: T tokens with their log-probabilities. The token that ended it is among them."""

    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finish: Finish = "length"
    kept: Kept | None = None
    """Of prompt and completion, where it was asked for."""


@dataclass(slots=True)
class Work:
    """Tokens of prompts: as given, and as computed, after sharing."""

    prompt_tokens: int = 0
    computed_tokens: int = 0
    sampled_tokens: int = 0


@torch.inference_mode()
def sample(
    policy: Policy,
    prompts: Sequence[Sequence[int]],
    limits: Sequence[int],
    families: Sequence[object],
    sampling: Sampling,
    random: torch.Generator,
    work: Work | None = None,
    kept: Sequence[Kept | None] | None = None,
) -> list[Sampled]:
    """Complete B prompts.

    Args:
        limits: the most tokens of each completion.
        families: prompts of the same family stand next to each other, and share their beginnings.
        random: the source of randomness; unused at temperature 0.
        work: is added to.
        kept: what each prompt may go on from. Where it is given, completions keep theirs.
    """
    policy.perform()
    found = [Sampled() for _ in prompts]
    firsts, rows = _alike(prompts, families)
    distinct = [prompts[first] for first in firsts]
    held = [kept[first] for first in firsts] if kept else ()
    cache, mask_BT, hidden_BD = _read(policy, distinct, [families[first] for first in firsts], work, held)
    positions_B = torch.tensor([len(prompt) for prompt in distinct], device=policy.device)
    live = list(enumerate(rows))  # the prompts that are not completed, each with its row of the batch
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
        ids_B = torch.tensor(ids, device=policy.device)
        mask_BT = torch.cat([mask_BT, mask_BT.new_ones(len(ids), 1)], dim=1)
        hidden_BD = policy.hidden(ids_B[:, None], mask_BT, positions_B[:, None], cache)[:, -1]
        positions_B = positions_B + 1
    if work:
        work.prompt_tokens += sum(map(len, prompts))
        work.sampled_tokens += sum(len(one.ids) for one in found)
    return found


def _rows(
    going: Sequence[tuple[int, int, int]], many: int, pad: int
) -> tuple[list[tuple[int, int]], list[int], list[int] | None]:
    """The prompts that go on with their new rows; the next token of each row; and which of `many` old rows each was.

    Args:
        going: a prompt, its row, and its next token.

    Returns:
        None for the old rows where the batch stays as it is: no row forks, and most of them are still wanted.
    """
    ends = list(dict.fromkeys((row, token) for _, row, token in going))
    token_of = dict(ends)
    if len(token_of) == len(ends) >= _CROWD * many:
        return [(number, row) for number, row, _ in going], [token_of.get(row, pad) for row in range(many)], None
    place_of = {end: place for place, end in enumerate(ends)}
    live = [(number, place_of[row, token]) for number, row, token in going]
    return live, [token for _, token in ends], [row for row, _ in ends]


def _alike(prompts: Sequence[Sequence[int]], families: Sequence[object]) -> tuple[list[int], list[int]]:
    """Where each prompt of a family that differs from the others stands first, and which of these each prompt is."""
    rows: dict[tuple[object, ...], int] = {}
    row_of = [rows.setdefault((family, *prompt), len(rows)) for family, prompt in zip(families, prompts, strict=True)]
    return [row_of.index(row) for row in range(len(rows))], row_of


def _read(
    policy: Policy,
    prompts: Sequence[Sequence[int]],
    families: Sequence[object],
    work: Work | None,
    kept: Sequence[Kept | None],
) -> tuple[BatchCache, torch.Tensor, torch.Tensor]:
    """The cache of B prompts, its mask, and the last state of each prompt, B x width."""
    cache = BatchCache()
    if any(kept):
        computed, begins = 0, _go_on(cache, prompts, kept)
    else:
        computed, begins = _share(cache, policy, prompts, families)
    tails = [prompt[begin:] for prompt, begin in zip(prompts, begins, strict=True)]
    ids, mask = _padded(tails, policy)
    begins_B = torch.tensor(begins, device=policy.device)
    before = torch.arange(max(begins), device=policy.device) < begins_B[:, None]
    mask_BT = torch.cat([before.long(), mask], dim=1)
    positions = begins_B[:, None] + torch.arange(ids.shape[1], device=policy.device)
    hidden = policy.hidden(ids, mask_BT, positions, cache)
    lasts = torch.tensor([len(tail) - 1 for tail in tails], device=policy.device)
    if work:
        work.computed_tokens += computed + sum(map(len, tails))
    return cache, mask_BT, hidden[torch.arange(len(tails), device=policy.device), lasts]


def _go_on(cache: BatchCache, prompts: Sequence[Sequence[int]], kept: Sequence[Kept | None]) -> list[int]:
    """Fill the cache with what was kept of each prompt. Gives how many tokens of each that is."""
    known = next(each for each in kept if each)
    empty = Kept((), [(keys[:, :0], values[:, :0]) for keys, values in known.layers])
    rows = [each or empty for each in kept]
    begins = [row.common(prompt) for row, prompt in zip(rows, prompts, strict=True)]
    cache.fill(rows, begins)
    return begins


def _share(
    cache: BatchCache, policy: Policy, prompts: Sequence[Sequence[int]], families: Sequence[object]
) -> tuple[int, list[int]]:
    """Compute what the prompts of each family begin with. Gives how many tokens that was, and of each prompt."""
    groups = _families(families)
    shared = [_common(prompts[start:end]) for start, end in groups]
    if not any(shared) or len(groups) == len(prompts):
        return 0, [0] * len(prompts)
    heads = [prompts[start][:length] for (start, _), length in zip(groups, shared, strict=True)]
    ids, mask = _padded(heads, policy)
    positions = torch.arange(ids.shape[1], device=policy.device).expand(ids.shape)
    policy.hidden(ids, mask, positions, cache)
    of_family = [family for family, (start, end) in enumerate(groups) for _ in range(start, end)]
    cache.select(torch.tensor(of_family, device=policy.device))
    return sum(map(len, heads)), [shared[family] for family in of_family]


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


def _draw(
    logits_BV: torch.Tensor, rows: Sequence[int], sampling: Sampling, random: torch.Generator
) -> tuple[list[int], list[float]]:
    """A token for each of the prompts that have these rows, and its log-probability among those that might come."""
    rows_N = torch.tensor(rows, device=logits_BV.device)
    if sampling.temperature == 0:
        logprobs_BV = torch.log_softmax(logits_BV, dim=-1)
        ids_N = logits_BV.argmax(dim=-1)[rows_N]
    else:
        logits_BV = logits_BV / sampling.temperature
        if sampling.top_p is not None and sampling.top_p < 1:
            logits_BV = _nucleus(logits_BV, sampling.top_p)
        logprobs_BV = torch.log_softmax(logits_BV, dim=-1)
        ids_N = torch.multinomial(logprobs_BV.exp()[rows_N], 1, generator=random)[:, 0]
    return ids_N.tolist(), logprobs_BV[rows_N, ids_N].tolist()


def _nucleus(logits_BV: torch.Tensor, top_p: float) -> torch.Tensor:
    """The likeliest tokens that together have the probability `top_p`; the others cannot be drawn."""
    ordered, order = logits_BV.sort(dim=-1, descending=True)
    before = ordered.softmax(dim=-1).cumsum(dim=-1) - ordered.softmax(dim=-1)
    ordered = ordered.masked_fill(before >= top_p, -torch.inf)
    return torch.empty_like(logits_BV).scatter(1, order, ordered)
