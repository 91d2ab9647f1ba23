"""The processes that train together through accelerate: which one this is, and sums over all of them.

A single process needs no launcher. `accelerate launch --num_processes 2 -m memagent train …` starts several.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import torch

_MOMENT = 0.2  # seconds


class Processes:
    """This process and the others that train with it."""

    @cached_property
    def _state(self) -> Any:
        from accelerate import PartialState
        from accelerate.utils import parse_flag_from_env

        # With cpu=True, several processes talk over gloo; without it, each would believe that it is alone.
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
        """Whether this is the process that writes."""
        return self.rank == 0

    def gather(self, value: Any) -> list[Any]:
        """The value of every process, in the order of their ranks."""
        if self.many == 1:
            return [value]
        from accelerate.utils import gather_object

        found: list[Any] = gather_object([value])
        return found

    def sum(self, values: Mapping[str, float]) -> dict[str, float]:
        """Each value summed over all processes; a process may lack some."""
        found = self.gather(values)
        return {
            name: sum(each.get(name, 0.0) for each in found)
            for name in dict.fromkeys(name for each in found for name in each)
        }

    def sum_gradients(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Replace every gradient by its sum over all processes."""
        if self.many == 1:
            return
        from accelerate.utils import reduce

        for parameter in parameters:
            gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            parameter.grad = reduce(gradient, "sum")

    def wait(self) -> None:
        self._state.wait_for_everyone()

    def close(self) -> None:
        """Leave the group of processes.

        Gloo's threads drop the tensors of the last exchange once they get the interpreter's lock. A thread that still
        waits for the lock when the interpreter exits aborts the process, so this gives it a moment.
        """
        if self.many > 1:
            self._state.destroy_process_group()
            time.sleep(_MOMENT)
