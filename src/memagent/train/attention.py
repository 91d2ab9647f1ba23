"""Attention over shared prefixes: a prefix that many conversations share is stored and computed once.

A training micro-batch is one row of `Block`s. In a sampling batch, several rows share a `Trunk`. transformers looks up
the attention function of a model by name; ours attends as usual in a forward pass that gets neither.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from inspect import signature
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch.nn.attention.varlen import varlen_attn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "memagent"
_SHARED_KEYS: dict[str, Any] = {"enable_gqa": True} if "enable_gqa" in signature(varlen_attn).parameters else {}
"""Flag for heads that share keys. PyTorch before 2.12 has no such flag and needs none."""
_AT_ONCE = 4_000_000  # attention weights; the fastest value tried, on two cores with 2 MB of cache each


@dataclass(frozen=True, slots=True)
class Block:
    """The next B x T tokens of a row. Each of the B sequences attends to the shared prefix and to its own T tokens."""

    rows: int
    width: int
    shared: int | None = None
    """Index of the block (1 x S) that is the prefix of each of the B sequences; None without a prefix."""


@dataclass(frozen=True, slots=True)
class Ragged:
    """A row of blocks for a GPU, in one kernel. Several kernels per block would take longer to launch than to run."""

    queries: torch.Tensor
    """Start of each conversation's queries in the row, and the end of the last ones."""
    keys: torch.Tensor
    """Start of each conversation's keys in `seen`, and the end of the last ones."""
    seen: torch.Tensor
    """Positions in the row that the conversations attend to, one after another: the prefix of each, then its own."""
    most: tuple[int, int]
    """Largest number of queries, and of keys, of any conversation."""

    @classmethod
    def of(cls, blocks: Sequence[Block], device: torch.device) -> Ragged:
        starts = [0, *accumulate(block.rows * block.width for block in blocks)]
        queries, keys, seen = [0], [0], []
        for block, start in zip(blocks, starts, strict=False):
            before = range(0) if block.shared is None else range(starts[block.shared], starts[block.shared + 1])
            for first in range(start, start + block.rows * block.width, block.width):
                seen += [*before, *range(first, first + block.width)]
                queries.append(first + block.width)
                keys.append(len(seen))
        most = (max(block.width for block in blocks), max(end - begin for begin, end in pairwise(keys)))
        of, to = (torch.tensor(each, dtype=torch.int32, device=device) for each in (queries, keys))
        return cls(of, to, torch.tensor(seen, device=device), most)

    def attend(self, q_HTD: torch.Tensor, k_GTD: torch.Tensor, v_GTD: torch.Tensor, scale: float) -> torch.Tensor:
        """Attention output, T x heads x width. Each query attends to the keys before it and to itself."""
        # In float32, because the gradients of a shared prefix are summed over its conversations.
        k, v = (each.transpose(0, 1).float().index_select(0, self.seen).to(each.dtype) for each in (k_GTD, v_GTD))
        found: Any = varlen_attn(
            q_HTD.transpose(0, 1), k, v, self.queries, self.keys, *self.most,
            scale=scale, window_size=(-1, 0), **_SHARED_KEYS,
        )  # fmt: skip
        return found  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class Trunk:
    """The prefix shared by rows `start` to `end` (exclusive): each layer's keys and values, 1 x heads x S x width."""

    start: int
    end: int
    layers: Sequence[tuple[torch.Tensor, torch.Tensor]]


def attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    blocks: Sequence[Block] = (),
    ragged: Ragged | None = None,
    trunks: Sequence[Trunk] = (),
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Compute attention as transformers expects it: B x heads x T x head width in, B x T x heads x head width out.

    Args:
        blocks: the blocks of the only row (B is 1).
        ragged: the same blocks prepared for a GPU, in place of `blocks`.
        trunks: the shared prefixes of all rows, in row order. `attention_mask` covers only the keys after them.
    """
    if not blocks and not trunks and ragged is None:
        usual: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **kwargs
        )
        return usual
    query, key = query.to(value.dtype), key.to(value.dtype)  # autocast leaves rotated queries and keys in float32
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    if trunks:
        return _behind(module.layer_idx, query * scale, key, value, attention_mask, trunks), None
    if ragged is not None:
        return ragged.attend(query[0], key[0], value[0], scale)[None], None
    attend = _Attention.apply if value.dtype == torch.bfloat16 and value.device.type == "cpu" else fused
    parts = [block.rows * block.width for block in blocks]
    queries, keys, values = (each[0].split(parts, dim=1) for each in (query, key, value))
    found = [
        attend(_own(queries, number, block), _seen(keys, number, block), _seen(values, number, block), scale)
        for number, block in enumerate(blocks)
    ]
    return torch.cat([each.transpose(1, 2).flatten(0, 1) for each in found])[None], None


AttentionInterface.register(NAME, attention)
AttentionMaskInterface.register(NAME, sdpa_mask)


def _own(parts: Sequence[torch.Tensor], number: int, block: Block) -> torch.Tensor:
    """The block's own part, reshaped from heads x (B x T) x width to B x heads x T x width."""
    heads, _, width = parts[number].shape
    return parts[number].view(heads, block.rows, block.width, width).transpose(0, 1)


def _seen(parts: Sequence[torch.Tensor], number: int, block: Block) -> torch.Tensor:
    own = _own(parts, number, block)
    if block.shared is None:
        return own
    return torch.cat([parts[block.shared].expand(block.rows, -1, -1, -1), own], dim=2)


def _behind(
    layer: int,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    trunks: Sequence[Trunk],
) -> torch.Tensor:
    """Attention of each row to its trunk, which is not copied for every row, and to its own keys."""
    _, heads, queries, width = query.shape
    groups, keys = key.shape[1:3]
    per_group = heads // groups * queries
    found = []
    for rows, (k, v) in _rows(trunks, layer, heads * queries, keys):
        batch = rows.stop - rows.start
        q = query[rows].reshape(batch, groups, per_group, width)
        own = q @ key[rows].transpose(2, 3)
        hidden = ~mask[rows, :, None] if mask is not None else _later(queries, keys, query.device)
        own.view(batch, groups, -1, queries, keys).masked_fill_(hidden, -torch.inf)
        of_all = q.transpose(0, 1).reshape(groups, batch * per_group, width) @ k[0].transpose(1, 2)
        shared = of_all.view(groups, batch, per_group, k.shape[2]).transpose(0, 1)
        to_shared, to_own = torch.cat([shared, own], dim=3).softmax(3).split([k.shape[2], keys], dim=3)
        to_all = to_shared.transpose(0, 1).reshape(groups, batch * per_group, k.shape[2]) @ v[0]
        values = to_all.view(groups, batch, per_group, width).transpose(0, 1) + to_own @ value[rows]
        found.append(values.reshape(batch, heads, queries, width))
    return torch.cat(found).transpose(1, 2)


def _rows(
    trunks: Sequence[Trunk], layer: int, queries: int, keys: int
) -> Iterator[tuple[slice, tuple[torch.Tensor, torch.Tensor]]]:
    """Yield the rows to compute at once, with the keys and values of their trunk."""
    for trunk in trunks:
        k, v = trunk.layers[layer]
        many = max(_AT_ONCE // (queries * (k.shape[2] + keys)), 1)
        for start in range(trunk.start, trunk.end, many):
            yield slice(start, min(start + many, trunk.end)), (k, v)


def fused(q_BHTD: torch.Tensor, k_BGKD: torch.Tensor, v_BGKD: torch.Tensor, scale: float) -> torch.Tensor:
    """Causal attention of the last T of K tokens. Each group of H / G heads shares its keys and values."""
    causal = q_BHTD.shape[2] == k_BGKD.shape[2]
    mask = None if causal else ~_later(q_BHTD.shape[2], k_BGKD.shape[2], q_BHTD.device)
    return scaled_dot_product_attention(
        q_BHTD, k_BGKD, v_BGKD, attn_mask=mask, is_causal=causal, scale=scale, enable_gqa=True
    )


def _later(queries: int, keys: int, device: torch.device) -> torch.Tensor:
    """T x K mask of the keys that come after each query."""
    return torch.ones(queries, keys, dtype=torch.bool, device=device).triu(keys - queries + 1)


class _Attention(torch.autograd.Function):
    """`fused` as matrix products. In bfloat16 on a CPU they are faster than PyTorch's own backward pass.

    It takes some queries at a time, so that their weights stay in the cache and keys after all of them cost nothing.
    """

    @staticmethod
    def forward(ctx: Any, q_BHTD: torch.Tensor, k_BGKD: torch.Tensor, v_BGKD: torch.Tensor, scale: float) -> Any:
        batch, heads, queries, width = q_BHTD.shape
        groups = k_BGKD.shape[1]
        q = (q_BHTD * scale).reshape(batch * groups, heads // groups, queries, width)
        k, v = (each.reshape(batch * groups, -1, width) for each in (k_BGKD, v_BGKD))
        ctx.save_for_backward(q, k, v)
        ctx.scale, ctx.shapes = scale, (q_BHTD.shape, k_BGKD.shape)
        found = torch.empty_like(q)
        for some, seen in _portions(q, k):
            found[:, :, some] = _together(_weights(q[:, :, some], k[:, seen]) @ v[:, seen], q)
        return found.view(q_BHTD.shape)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        q, k, v = ctx.saved_tensors
        dq, (dk, dv) = torch.empty_like(q), (torch.zeros_like(each, dtype=torch.float32) for each in (k, v))
        for some, seen in _portions(q, k):
            weights = _weights(q[:, :, some], k[:, seen])  # recomputed, because keeping them would take K x T memory
            given = gradients[0].reshape(q.shape)[:, :, some].flatten(1, 2)
            dv[:, seen] += weights.transpose(1, 2) @ given
            scores = torch._softmax_backward_data(given @ v[:, seen].transpose(1, 2), weights, -1, weights.dtype)
            dq[:, :, some] = _together(scores @ k[:, seen] * ctx.scale, q)
            dk[:, seen] += scores.transpose(1, 2) @ q[:, :, some].flatten(1, 2)
        q_shape, k_shape = ctx.shapes
        return dq.view(q_shape), dk.to(k.dtype).view(k_shape), dv.to(v.dtype).view(k_shape), None


def _portions(q: torch.Tensor, k: torch.Tensor) -> Iterator[tuple[slice, slice]]:
    """Yield the queries to compute at once, with the keys that they may see."""
    rows, heads, queries, _ = q.shape
    keys = k.shape[1]
    many = max(_AT_ONCE // (rows * heads * keys) // 64, 1) * 64
    for start in range(0, queries, many):
        end = min(start + many, queries)
        yield slice(start, end), slice(0, keys - queries + end)


def _weights(q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    """Attention weights of each query over the keys, rows x (heads x T) x K."""
    queries = q.shape[2]
    scores = q.flatten(1, 2) @ k.transpose(1, 2)
    scores.view(*q.shape[:3], -1)[..., -queries:].masked_fill_(_later(queries, queries, q.device), -torch.inf)
    return scores.softmax(-1)


def _together(values: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """Reshape rows x (heads x T) x width to rows x heads x T x width."""
    return values.view(*q.shape[:2], -1, q.shape[3])
