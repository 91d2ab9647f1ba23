"""Compares the trainer's attention, cache and generation with what PyTorch and transformers bring.

    python benchmarks/attention.py

Attention: forward and backward of one layer of Qwen2.5-0.5B (14 heads that share the keys of 2 heads, 64 wide) over 2
sections, each shared by 8 conversations. The other ways are FlexAttention and a dense mask over the same packed row,
and a padded batch in which each conversation has its section to itself.

Generation: 16 prompts with a section in common, completed by SmolLM2-135M; against `generate` of transformers, and
against our own loop with transformers' cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from common import clock, figure, text
from torch.nn.attention.flex_attention import create_block_mask, flex_attention
from torch.nn.functional import scaled_dot_product_attention

from memagent.models.chat import Sampling
from memagent.rl.config import PolicyConfig
from memagent.train import cache
from memagent.train.attention import Block, Ragged, attention
from memagent.train.generation import sample
from memagent.train.loading import make_policy

ROUNDS = 5
WIDTHS = (60, 90, 150, 260)
BLOCKS = [
    block
    for section in range(2)
    for block in (Block(1, 900 + section), *(Block(2, width, shared=5 * section) for width in WIDTHS))
]
PROMPTS, SHARED, OWN, NEW = 16, 800, 60, 32


def main() -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    for kind in (torch.float32, torch.bfloat16):
        layer(device, kind)
    generation(device)


def layer(device: torch.device, kind: torch.dtype) -> None:
    torch.manual_seed(0)
    row = sum(block.rows * block.width for block in BLOCKS)
    parts = [torch.randn(1, heads, row, 64, device=device, dtype=kind, requires_grad=True) for heads in (14, 2, 2)]
    given = torch.randn(1, row, 14, 64, device=device, dtype=kind)
    how: dict[str, Any] = {"blocks": BLOCKS} if device.type == "cpu" else {"ragged": Ragged.of(BLOCKS, device)}
    mask = sees(device)
    flex = torch.compile(flex_attention)
    block_mask = create_block_mask(lambda b, h, q, k: mask[q, k], None, None, row, row, device=str(device))
    padded = _padded(parts)
    given_padded = torch.randn_like(padded[0]).transpose(1, 2)
    ways: dict[str, tuple[Callable[..., torch.Tensor], Sequence[torch.Tensor], torch.Tensor]] = {
        "ours": (lambda q, k, v: attention(None, q, k, v, None, **how)[0], parts, given),
        "FlexAttention": (lambda q, k, v: _out(flex(q, k, v, block_mask=block_mask, enable_gqa=True)), parts, given),
        "a dense mask": (
            lambda q, k, v: _out(scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True)), parts, given,
        ),
        "a padded batch": (
            lambda q, k, v: _out(scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)), padded,
            given_padded,
        ),
    }  # fmt: skip
    first = None
    for name, (way, inputs, gradient) in ways.items():
        label = f"attention: {name}, {str(kind).removeprefix('torch.')} on {device.type}"
        forward = _seconds(partial(way, *[each.detach() for each in inputs]))
        try:
            both = _seconds(partial(_forward_and_backward, way, inputs, gradient))
        except NotImplementedError as error:
            figure(label, f"forward {forward * 1000:.0f} ms", f"backward: {str(error).splitlines()[0][:60]}")
            continue
        first = first or both
        figure(label, f"{forward * 1000:.0f} ms, with backward {both * 1000:.0f} ms", f"{both / first:.1f} x")


def sees(device: torch.device) -> torch.Tensor:
    """T x T mask of the keys that each query of the row attends to."""
    starts = [0]
    for block in BLOCKS:
        starts.append(starts[-1] + block.rows * block.width)
    found = torch.zeros(starts[-1], starts[-1], dtype=torch.bool, device=device)
    for start, block in zip(starts, BLOCKS, strict=False):
        for first in range(start, start + block.rows * block.width, block.width):
            own = slice(first, first + block.width)
            found[own, own] = torch.ones(block.width, block.width, dtype=torch.bool, device=device).tril()
            if block.shared is not None:
                found[own, starts[block.shared] : starts[block.shared + 1]] = True
    return found


def _padded(parts: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Random queries, keys and values of as many conversations, each with its section, padded to one length."""
    rows = sum(block.rows for block in BLOCKS if block.shared is not None)
    longest = max(block.width for block in BLOCKS if block.shared is None) + max(WIDTHS)
    return [part.new_empty(rows, part.shape[1], longest, 64).normal_().requires_grad_() for part in parts]


def _out(found_BHTD: torch.Tensor) -> torch.Tensor:
    return found_BHTD.transpose(1, 2)


def _forward_and_backward(
    way: Callable[..., torch.Tensor], inputs: Sequence[torch.Tensor], given: torch.Tensor
) -> object:
    return torch.autograd.grad(way(*inputs), inputs, given)


def _seconds(work: Callable[[], object], rounds: int = ROUNDS) -> float:
    work()
    with clock() as passed:
        for _ in range(rounds):
            work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
    return passed[0] / rounds


def generation(device: torch.device) -> None:
    policy = make_policy(PolicyConfig("smollm2-135m"), 0, device)
    policy.stops = frozenset()  # so that all completions have the same length
    ids = policy.tokenizer.ids(text(100_000))
    prompts = [ids[:SHARED] + ids[at : at + OWN] for at in range(1000, 1000 + 100 * PROMPTS, 100)]

    def ours() -> list[list[int]]:
        return [one.ids for one in sample(policy, prompts, [NEW] * PROMPTS, Sampling(0.0), torch.Generator())]

    def theirs() -> list[list[int]]:
        with torch.inference_mode():
            found = policy.model.generate(
                torch.tensor(prompts, device=device), max_new_tokens=NEW, min_new_tokens=NEW, do_sample=False,
                pad_token_id=policy.pad, attention_mask=torch.ones(PROMPTS, SHARED + OWN, device=device),
            )  # fmt: skip
        return [row[SHARED + OWN :].tolist() for row in found]

    texts, taken = ours(), _seconds(ours, 1)
    same = sum(one == other for one, other in zip(texts, theirs(), strict=True))
    figure(
        f"generation: {PROMPTS} x ({SHARED} shared + {OWN} + {NEW}), ours",
        f"{taken:.1f} s", f"{same} of {PROMPTS} texts are those of `generate`",
    )  # fmt: skip
    other = _seconds(theirs, 1)
    figure("generation: `generate` of transformers", f"{other:.1f} s", f"{other / taken:.1f} x")
    with patch.object(cache, "_joined", lambda held, new: torch.cat([held, new], dim=2)):
        grown = _seconds(ours, 1)
    figure("generation: ours with transformers' growing of the cache", f"{grown:.1f} s", f"{grown / taken:.2f} x")


if __name__ == "__main__":
    main()
