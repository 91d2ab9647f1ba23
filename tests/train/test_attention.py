"""Attention block by block equals PyTorch's attention with a mask, forward and backward."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from memagent.train.attention import Block, Ragged, attention

BLOCKS = [Block(2, 70), Block(1, 110), Block(3, 50, shared=1), Block(1, 40, shared=1), Block(2, 30)]
ROW = 140 + 110 + 150 + 40 + 60


def seen() -> torch.Tensor:
    """Mask of the tokens that each token attends to, from the conversation of each token and its shared prefix."""
    widths = (70, 70, 110, 50, 50, 50, 40, 30, 30)
    whose = [number for number, width in enumerate(widths) for _ in range(width)]
    begins_with = {3: 2, 4: 2, 5: 2, 6: 2}
    return torch.tensor(
        [
            [other == begins_with.get(of) or (other == of and column <= row) for column, other in enumerate(whose)]
            for row, of in enumerate(whose)
        ]
    )


@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 1e-12), (torch.bfloat16, 0.02)])
def test_blocks_attend_to_what_they_share_and_to_their_own(
    dtype: torch.dtype, error: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four heads share the keys of two. bfloat16 takes a path of its own, some queries at a time."""
    monkeypatch.setattr("memagent.train.attention._AT_ONCE", 0)
    torch.manual_seed(0)
    given = torch.randn(1, ROW, 4, 8, dtype=torch.float64)
    q, k, v = (torch.randn(1, heads, ROW, 8, dtype=torch.float64, requires_grad=True) for heads in (4, 2, 2))
    meant = scaled_dot_product_attention(q, k, v, attn_mask=seen(), enable_gqa=True).transpose(1, 2)
    ours_q, ours_k, ours_v = (each.detach().to(dtype).requires_grad_() for each in (q, k, v))
    ours, _ = attention(None, ours_q, ours_k, ours_v, None, blocks=BLOCKS)
    assert ours.dtype == dtype
    assert (meant - ours).norm() < error * meant.norm()
    expected = torch.autograd.grad(meant, (q, k, v), given)
    found = torch.autograd.grad(ours, (ours_q, ours_k, ours_v), given.to(dtype))
    for one, other in zip(expected, found, strict=True):
        assert (one - other).norm() < error * one.norm()


def one_by_one(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, queries: torch.Tensor, keys: torch.Tensor, *most: int, **how: Any
) -> torch.Tensor:
    """The GPU kernel's result, computed conversation by conversation: the last query sees all of its keys."""
    assert how == {"scale": 8**-0.5, "window_size": (-1, 0), "enable_gqa": True}
    found = []
    for first, last, begin, end in zip(queries, queries[1:], keys, keys[1:], strict=False):
        assert last - first <= most[0]
        assert end - begin <= most[1]
        mask = torch.ones(last - first, end - begin, dtype=torch.bool).tril(int(end - begin - last + first))
        mine, of, to = (each.transpose(0, 1) for each in (q[first:last], k[begin:end], v[begin:end]))
        found.append(scaled_dot_product_attention(mine, of, to, attn_mask=mask, enable_gqa=True).transpose(0, 1))
    return torch.cat(found)


def test_a_ragged_row_is_the_same_as_its_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a GPU has the kernel; benchmarks/gpu.py runs it. This test checks its arguments."""
    monkeypatch.setattr("memagent.train.attention.varlen_attn", one_by_one)
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, heads, ROW, 8, requires_grad=True) for heads in (4, 2, 2))
    given = torch.randn(1, ROW, 4, 8)
    meant = scaled_dot_product_attention(q, k, v, attn_mask=seen(), enable_gqa=True).transpose(1, 2)
    ours, _ = attention(None, q, k, v, None, ragged=Ragged.of(BLOCKS, torch.device("cpu")))
    expected = torch.autograd.grad(meant, (q, k, v), given)
    found = torch.autograd.grad(ours, (q, k, v), given)
    for one, other in zip((meant, *expected), (ours, *found), strict=True):
        assert (one - other).norm() < 1e-5 * one.norm()
