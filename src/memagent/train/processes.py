"""The processes that train together, through accelerate: who this one is, and sums over all of them.

One process alone needs none of it: `accelerate launch --num_processes 2 -m memagent train …` starts several.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import torch

_MOMENT = 0.2  # seconds


class Processes:
    """This process among all."""

    @cached_property
    def _state(self) -> Any:
        from accelerate import PartialState
        from accelerate.utils import parse_flag_from_env

        # Told to use the CPU, several processes talk over gloo; not told, each would take itself for the only one.
        return PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.accelerator.is_available())

    @property
    def rank(self) -> int:
        return int(self._state.process_index)

    @property
    def many(self) -> int:
        return int(self._state.num_processes)

    @property
    def device(self) -> torch.device:
        return torch.device(self._state.device)

    @property
    def first(self) -> bool:
        """Whether it is the one that writes."""
        return self.rank == 0

    def gather(self, value: Any) -> list[Any]:
        """What each process has, in their order."""
        if self.many == 1:
            return [value]
        from accelerate.utils import gather_object

        found: list[Any] = gather_object([value])
        return found

    def sum(self, values: Mapping[str, float]) -> dict[str, float]:
        """Each value, added up over all processes; a process may lack some."""
        found = self.gather(values)
        return {
            name: sum(each.get(name, 0.0) for each in found)
            for name in dict.fromkeys(name for each in found for name in each)
        }

    def sum_gradients(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Make every gradient the sum of all processes' own."""
        if self.many == 1:
            return
        from accelerate.utils import reduce

        for parameter in parameters:
            gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            parameter.grad = reduce(gradient, "sum")

    def wait(self) -> None:
        self._state.wait_for_everyone()

    def close(self) -> None:
        """Let go of the others.

        Gloo's threads drop the tensors of the last exchange as soon as they can have the interpreter. One that still
        waits for it when the interpreter ends aborts the process: a moment's sleep lets it have its way.
        """
        if self.many > 1:
            self._state.destroy_process_group()
            time.sleep(_MOMENT)
