"""Compares the trainer's attention on a GPU for a whole row of conversations at once with attention block by block.

    python benchmarks/gpu.py

Prints the relative differences from float32 of the output and of the three gradients. The layer is one of
Qwen2.5-0.5B: 14 heads that share the keys of 2 heads, 64 wide. The row is like a row of the preset `reader`: 8
sections, each shared by 8 conversations.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch
from common import clock, figure

from memagent.train.attention import Block, Ragged, attention

ROUNDS = 20
BLOCKS = [
    block
    for section in range(8)
    for block in (Block(1, 900 + section), *(Block(2, width, shared=5 * section) for width in (60, 90, 150, 260)))
]


def backward(given: torch.Tensor, parts: list[torch.Tensor], **how: Any) -> list[torch.Tensor]:
    query, key, value = parts
    found, _ = attention(None, query, key, value, None, **how)
    return [found, *torch.autograd.grad(found, parts, given.to(found.dtype))]


def seconds(work: Callable[[], object]) -> float:
    work()
    torch.cuda.synchronize()
    with clock() as passed:
        for _ in range(ROUNDS):
            work()
        torch.cuda.synchronize()
    return passed[0] / ROUNDS


def main() -> None:
    if not torch.cuda.is_available():
        sys.exit("There is no GPU here: this benchmark needs one.")
    torch.manual_seed(0)
    device, row = torch.device("cuda"), sum(block.rows * block.width for block in BLOCKS)
    exact = [torch.randn(1, heads, row, 64, device=device, requires_grad=True) for heads in (14, 2, 2)]
    half = [each.detach().bfloat16().requires_grad_() for each in exact]
    given, ragged = torch.randn(1, row, 14, 64, device=device), Ragged.of(BLOCKS, device)
    for name, how in (("block by block", {"blocks": BLOCKS}), ("the whole row", {"ragged": ragged})):
        pairs = zip(backward(given, exact, blocks=BLOCKS), backward(given, half, **how), strict=True)
        errors = [f"{float((one - other).norm() / one.norm()):.4f}" for one, other in pairs]
        figure(f"{name}: difference", " ".join(errors), "under 0.01")
        taken = seconds(lambda how=how: backward(given, half, **how))  # type: ignore[misc]
        figure(f"{name}: forward and backward, a layer", f"{1000 * taken:.2f} ms")


if __name__ == "__main__":
    print(torch.cuda.get_device_name() if torch.cuda.is_available() else "", torch.__version__)
    main()
