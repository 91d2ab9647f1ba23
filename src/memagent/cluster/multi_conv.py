"""A trainer for verl with the rules of Multi-Conv DAPO (arXiv 2507.02259) that verl's own trainer does not follow.

verl gives all conversations of a rollout the advantage of their rollout, compared with the other rollouts of the
problem. But its mini-batches have a fixed number of rows, so that longer documents mean more optimiser steps, and its
mean is over the tokens of a mini-batch. Here, the number of optimiser steps is fixed, and the mean is over the tokens
of the whole batch.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, open_dict
from verl.trainer.ppo.v1.trainer_base import register_trainer
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync
from verl.utils import tensordict_utils
from verl.utils.config import omega_conf_to_dataclass
from verl.utils.metric import reduce_metrics
from verl.utils.py_functional import rename_dict
from verl.workers.utils.losses import ppo_loss

from memagent.cluster.figures import figures_of
from memagent.disk import write_whole

NAME = "memagent"


def whole_batch_loss(config: Any, model_output: Any, data: Any, dp_group: Any = None) -> Any:
    """verl's PPO loss as a mean over the tokens of the whole batch, times the number of optimiser steps.

    With this, the gradients of all steps add up to the gradient of the mean, although each step sees only its part.
    """
    tensordict_utils.assign_non_tensor(data, batch_num_tokens=data["tokens_per_step"])
    return ppo_loss(config=config, model_output=model_output, data=data, dp_group=dp_group)


@register_trainer(NAME)
class MultiConvTrainer(PPOTrainerSync):
    """verl's synchronous trainer, with `memagent.optimiser_steps` steps for each batch."""

    def __init__(self, config: DictConfig) -> None:
        with open_dict(config):
            config.trainer.v1.trainer_mode = "sync"  # verl compares this name, besides looking up the class with it
        super().__init__(config)
        self._steps: int = config.memagent.optimiser_steps
        self._metrics = Path(config.memagent.folder) / "metrics.jsonl"

    def _setup(self) -> None:
        super()._setup()
        actor = omega_conf_to_dataclass(self.config.actor_rollout_ref.actor)
        self.actor_rollout_wg.set_loss_fn(partial(whole_batch_loss, config=actor))

    def _load_checkpoint(self) -> None:
        super()._load_checkpoint()
        if self._metrics.is_file():  # the steps after the checkpoint are run again
            lines = self._metrics.read_text(encoding="utf-8").splitlines()
            kept = [line for line in lines if json.loads(line)["step"] <= self.global_steps]
            write_whole(self._metrics, "".join(f"{line}\n" for line in kept))

    def _get_required_batch_multiple(self, dp_size: int) -> int:
        return dp_size * self._steps

    def _update_actor(self, batch: Any, metrics: dict[str, Any]) -> Any:
        actor = self.config.actor_rollout_ref.actor
        tokens = sum(tag["response_len"] for tag in batch.tags if not tag.get("is_padding"))
        batch.extra_info.update(
            num_mini_batch=self._steps,
            tokens_per_step=tokens / self._steps,
            global_batch_size=len(batch),
            epochs=1,
            seed=actor.data_loader_seed,
            dataloader_kwargs={"shuffle": False},
            temperature=self.config.actor_rollout_ref.rollout.temperature,
            calculate_entropy=actor.calculate_entropy,
            distillation_use_topk=False,
            distillation_only=False,
        )
        output = rename_dict(self.actor_rollout_wg.update_actor(batch)["metrics"], "actor/")
        output["perf/mfu/actor"] = output.pop("actor/mfu")
        metrics.update(reduce_metrics(output))
        return batch

    def _compute_metrics(
        self, batch: Any, metrics: dict[str, Any], timing_raw: dict[str, float], global_steps: int, epoch: int
    ) -> None:
        super()._compute_metrics(batch, metrics, timing_raw, global_steps=global_steps, epoch=epoch)
        problems, group = self.config.data.train_batch_size, self.config.actor_rollout_ref.rollout.n
        line = {"stage": "rl", "step": global_steps} | figures_of(batch, metrics, timing_raw, problems, group)
        with self._metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
