"""A key-value cache for a lockstep batch. Rows are copied and dropped as the batch changes; the cache grows in place.

Keys are stored with their positions already applied (RoPE), so their place in the cache does not matter: a row may have
holes, which the attention mask excludes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import pad
from transformers.cache_utils import Cache, DynamicLayer

_ROOM = 32  # tokens of room allocated at a time


class _Layer(DynamicLayer):  # type: ignore[misc]
    """A layer with spare room at its end. Transformers' own layer copies everything it holds for every new token."""

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
    """The cache of one row: its tokens, and each layer's keys and values, heads x tokens x width."""

    ids: Sequence[int]
    layers: list[tuple[torch.Tensor, torch.Tensor]]

    def common(self, prompt: Sequence[int]) -> int:
        """Number of leading prompt tokens that are cached. The last token of a prompt is always computed again."""
        most = min(len(self.ids), len(prompt) - 1)
        return next((place for place in range(most) if self.ids[place] != prompt[place]), most)


class BatchCache(Cache):  # type: ignore[misc]
    """Keys and values of B rows, B x heads x tokens x width in each layer."""

    def __init__(self) -> None:
        super().__init__(layer_class_to_replicate=_Layer)

    def select(self, rows: torch.Tensor) -> None:
        """Replace the batch by these rows, to copy one row for several prompts or to drop finished rows."""
        for layer in self.layers:
            layer.select(rows)

    def keep(self, row: int, ids: Sequence[int], mask_T: torch.Tensor) -> Kept:
        """Copy the part of a row that the mask includes. `ids` are its tokens."""
        places = mask_T.nonzero()[:, 0]
        return Kept(ids, [(layer.keys[row][:, places], layer.values[row][:, places]) for layer in self.layers])

    def fill(self, rows: Sequence[Kept], lengths: Sequence[int]) -> None:
        """Fill an empty cache with the first `lengths` tokens of B kept rows, padded at their ends."""
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
    """Append `new` to `held` along the tokens, in place if there is enough room behind `held`."""
    batch, heads, tokens, width = held.shape
    total = tokens + new.shape[2]
    if held.stride(1) >= total * width and held.stride(2) == width:  # a view of something longer
        room = held.as_strided((batch, heads, held.stride(1) // width, width), held.stride())
    else:
        room = held.new_empty(batch, heads, total + _ROOM, width)
        room[:, :, :tokens] = held
    room[:, :, tokens:total] = new
    return room[:, :, :total]
