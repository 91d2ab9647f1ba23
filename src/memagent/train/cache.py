"""A key-value cache for a lockstep batch: rows are copied and dropped as the batch changes, and it grows in place.

Keys are stored after their positions were worked into them (RoPE), so that it does not matter where in the cache
they lie: a row may have holes, which the attention mask leaves out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import pad
from transformers.cache_utils import Cache, DynamicLayer

_ROOM = 32  # tokens of room made at once


class _Layer(DynamicLayer):  # type: ignore[misc]
    """Transformers' own layer copies all it holds for every token; this one has room left at its end."""

    keys: torch.Tensor
    values: torch.Tensor
    is_initialized: bool

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        self.keys = _joined(self.keys, key_states) if self.is_initialized else key_states
        self.values = _joined(self.values, value_states) if self.is_initialized else value_states
        self.is_initialized = True
        return self.keys, self.values

    def select(self, rows: torch.Tensor) -> None:
        self.keys, self.values = self.keys[rows], self.values[rows]


@dataclass(frozen=True, slots=True)
class Kept:
    """What was computed of one row: its tokens, and a layer's keys and values, each heads x tokens x width."""

    ids: Sequence[int]
    layers: list[tuple[torch.Tensor, torch.Tensor]]

    def common(self, prompt: Sequence[int]) -> int:
        """How many tokens of a prompt it serves; the last one is always computed anew."""
        most = min(len(self.ids), len(prompt) - 1)
        return next((place for place in range(most) if self.ids[place] != prompt[place]), most)


class BatchCache(Cache):  # type: ignore[misc]
    """Keys and values of B rows, B x heads x tokens x width a layer."""

    def __init__(self) -> None:
        super().__init__(layer_class_to_replicate=_Layer)

    def select(self, rows: torch.Tensor) -> None:
        """Make the batch these rows: to share what one row computed among many, or to drop finished ones."""
        for layer in self.layers:
            layer.select(rows)

    def keep(self, row: int, ids: Sequence[int], mask_T: torch.Tensor) -> Kept:
        """A copy of the tokens of a row that the mask does not leave out, which are `ids`."""
        places = mask_T.nonzero()[:, 0]
        return Kept(ids, [(layer.keys[row][:, places], layer.values[row][:, places]) for layer in self.layers])

    def fill(self, rows: Sequence[Kept], lengths: Sequence[int]) -> None:
        """Begin an empty cache with the first tokens of B rows, filled up at their ends."""
        width = max(lengths)
        for number in range(len(rows[0].layers)):
            keys, values = (
                torch.stack(
                    [
                        pad(kept.layers[number][which][:, :length], (0, 0, 0, width - length))
                        for kept, length in zip(rows, lengths, strict=True)
                    ]
                )
                for which in (0, 1)
            )
            self.update(keys, values, number)


def _joined(held: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
    """Both along the tokens, written into the room behind `held` where there is enough."""
    batch, heads, tokens, width = held.shape
    total = tokens + new.shape[2]
    if held.stride(1) >= total * width and held.stride(2) == width:  # a view of something longer
        room = held.as_strided((batch, heads, held.stride(1) // width, width), held.stride())
    else:
        room = held.new_empty(batch, heads, total + _ROOM, width)
        room[:, :, :tokens] = held
    room[:, :, tokens:total] = new
    return room[:, :, :total]
