"""Optimiser steps on micro-batches of conversations: forward, backward, and one step for all of them together.

Weights of tokens (credit.py) add up to 1 over all micro-batches and all processes, so that gradients are summed and
never averaged: the step is the same, however the conversations were cut and dealt out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

from memagent.errors import ModelError
from memagent.train.batches import Conversation, MicroBatch, collate, logprobs, micro_batches
from memagent.train.config import OptimiserConfig
from memagent.train.memory import enough_memory
from memagent.train.policy import Policy
from memagent.train.processes import Processes

Loss = Callable[[torch.Tensor, torch.Tensor, MicroBatch], tuple[torch.Tensor, dict[str, torch.Tensor]]]
"""From N log-probabilities, N entropies and the micro-batch to its part of the loss, and figures that add up."""


class Learner:
    """The optimiser of a policy.

    Args:
        learning_rate: reached after the warm-up.
        steps: that there will be.
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
        warmup, decay = max(config.warmup_steps, 1), max(config.decay * steps, 1)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimiser, lambda step: max(min((step + 1) / warmup, 1.0, (steps - step) / decay), 0.0)
        )

    def step(self, conversations: Sequence[Conversation], loss: Loss) -> dict[str, float]:
        """One optimiser step. Gives the loss, the gradient's norm, and the loss's figures.

        Raises:
            ModelError: the memory is not enough, or loss or gradient is no finite number; the weights are as before.
        """
        sums: dict[str, float] = {"loss": 0.0}
        for batch in micro_batches(conversations, self._config.micro_tokens):
            with enough_memory("a micro-batch", "optimiser.micro_tokens", self._config.micro_tokens):
                figures = self._backward(collate(batch, self._policy.pad), loss)
            for name, value in figures.items():
                sums[name] = sums.get(name, 0.0) + value
        self._processes.sum_gradients(self._policy.parameters)
        norm = float(torch.nn.utils.clip_grad_norm_(self._policy.parameters, self._config.max_norm))
        figures = self._processes.sum(sums) | {"norm": norm}
        if not (math.isfinite(figures["loss"]) and math.isfinite(norm)):
            self.optimiser.zero_grad()
            raise ModelError(
                f"The loss is {figures['loss']:g} and the gradient's norm {norm:g}: set a lower learning rate, and run "
                "the same command to go on from the last checkpoint."
            )
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
