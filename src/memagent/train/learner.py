"""Optimiser steps on micro-batches of conversations: forward and backward for each, then one step for all of them.

Token weights (credit.py) add up to 1 over all micro-batches and processes, so gradients are summed and never averaged.
A step is the same however its conversations are cut and dealt out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from memagent.errors import ModelError
from memagent.rl.config import OptimiserConfig
from memagent.rl.conversations import Conversation
from memagent.train.batches import MicroBatch, Pack, collate, logprobs, micro_batches
from memagent.train.oom import enough_memory
from memagent.train.policy import Policy
from memagent.train.processes import Processes

Loss = Callable[[torch.Tensor, torch.Tensor, MicroBatch], tuple[torch.Tensor, dict[str, torch.Tensor]]]
"""From N log-probabilities, N entropies and the micro-batch to its part of the loss, and figures to be summed."""


class Learner:
    """The optimiser of a policy.

    Args:
        learning_rate: rate after the warm-up.
        steps: number of steps in all; the decay depends on it.
    """

    def __init__(
        self,
        policy: Policy,
        learning_rate: float,
        steps: int,
        config: OptimiserConfig,
        processes: Processes,
        temperature: float = 1.0,
    ) -> None:
        self._policy, self._config, self._processes, self._temperature = policy, config, processes, temperature
        self.optimiser = torch.optim.AdamW(
            policy.parameters, lr=learning_rate, betas=(0.9, config.beta2), weight_decay=config.weight_decay
        )
        self._rate, self._steps = learning_rate, steps
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimiser, self._share)

    def resume(self, optimiser: dict[str, Any], schedule: dict[str, Any]) -> None:
        """Restore saved states, but keep the learning rate and the number of steps configured now."""
        self.optimiser.load_state_dict(optimiser)
        self.schedule.load_state_dict(schedule)
        self.schedule.base_lrs = [self._rate]
        for group in self.optimiser.param_groups:
            group["initial_lr"], group["lr"] = self._rate, self._rate * self._share(self.schedule.last_epoch)

    def _share(self, step: int) -> float:
        """Share of the learning rate to use at a step, counted from 0."""
        rising = min((step + 1) / max(self._config.warmup_steps, 1), 1.0)
        falling = self._config.decay * self._steps
        return min(rising, max(self._steps - step, 0) / falling) if falling else rising

    def packs(self, conversations: Sequence[Conversation]) -> list[Pack]:
        """Cut conversations into packs, as a step does."""
        return micro_batches(conversations, self._config.micro_tokens)

    def step(self, conversations: Sequence[Conversation], loss: Loss) -> dict[str, float]:
        """Take one optimiser step. Returns the loss, the gradient's norm and the loss's figures.

        Raises:
            ModelError: there is not enough memory, or the loss or gradient is not finite. The weights are unchanged.
        """
        return self.step_on(self.packs(conversations), loss)

    def step_on(self, packs: Sequence[Pack], loss: Loss) -> dict[str, float]:
        """Take one optimiser step, like `step`, on conversations that are already cut into packs."""
        sums: dict[str, float] = {"loss": 0.0}
        for pack in packs:
            with enough_memory("a micro-batch", "optimiser.micro_tokens", self._config.micro_tokens):
                figures = self._backward(collate(pack, self._policy.pad), loss)
            for name, value in figures.items():
                sums[name] = sums.get(name, 0.0) + value
        self._processes.sum_gradients(self._policy.parameters)
        norm = float(torch.nn.utils.clip_grad_norm_(self._policy.parameters, self._config.max_norm))
        figures = self._processes.sum(sums) | {"norm": norm}
        if not (math.isfinite(figures["loss"]) and math.isfinite(norm)):
            self.optimiser.zero_grad()
            raise ModelError(
                f"The loss is {figures['loss']:g} and the gradient's norm {norm:g}: set a lower learning rate, and run "
                "the same command to resume from the last checkpoint."
            )
        with enough_memory("the optimiser", "policy.lora_rank or optimiser.micro_tokens", self._config.micro_tokens):
            self.optimiser.step()
        self.schedule.step()
        self.optimiser.zero_grad()
        return figures

    def _backward(self, batch: MicroBatch, loss: Loss) -> dict[str, float]:
        batch = batch.to(self._policy.device)
        self._policy.study()
        logprobs_N, entropies_N = logprobs(self._policy, batch, self._temperature)
        value, figures = loss(logprobs_N, entropies_N, batch)
        value.backward()
        return {"loss": value.item()} | {name: figure.item() for name, figure in figures.items()}
