"""One optimiser step of verl in this process, which is one of several ranks.

    RANK=0 WORLD_SIZE=2 … python one_step.py MODEL BATCH.json WEIGHTS.safetensors

BATCH.json has the conversations. Rank 0 writes the weights after the step.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path

import torch
import verl  # noqa: F401  (loads the platform and the engine)
from safetensors.torch import save_file
from torch.distributed.tensor import DTensor
from verl.utils import tensordict_utils
from verl.utils.config import omega_conf_to_dataclass
from verl.workers.config import TrainingWorkerConfig
from verl.workers.engine_workers import TrainingWorker
from verl_cpu import SETTINGS

from memagent.cluster.launch import composed
from memagent.cluster.multi_conv import whole_batch_loss

LEARNING_RATE = 1e-3


def main(model: str, batch_file: str, weights_file: str) -> None:
    torch.distributed.init_process_group("gloo")
    rank, ranks = torch.distributed.get_rank(), torch.distributed.get_world_size()
    settings = [
        f"actor_rollout_ref.model.path={model}",
        "actor_rollout_ref.model.enable_gradient_checkpointing=False",
        "actor_rollout_ref.rollout.name=vllm",
        "actor_rollout_ref.actor.strategy=fsdp2",
        "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=2",
        "actor_rollout_ref.actor.clip_ratio_high=0.28",
        "actor_rollout_ref.actor.clip_ratio_c=1e6",
        f"actor_rollout_ref.actor.optim.lr={LEARNING_RATE}",
        "actor_rollout_ref.actor.optim.total_training_steps=10",
    ]
    actor_settings = composed([*settings, *(each for each in SETTINGS if "ray" not in each)]).actor_rollout_ref
    actor, hf_model = omega_conf_to_dataclass(actor_settings.actor), omega_conf_to_dataclass(actor_settings.model)
    actor.model_config = hf_model
    engine = actor.engine
    engine.use_dynamic_bsz = False
    engine.micro_batch_size_per_gpu = engine.infer_micro_batch_size_per_gpu = 2
    worker = TrainingWorker(
        TrainingWorkerConfig(
            model_type="language_model", model_config=hf_model, engine_config=engine, optimizer_config=actor.optim,
            checkpoint_config=actor.checkpoint, profiler_config=None,
        )
    )  # fmt: skip
    worker.reset()
    worker.set_loss_fn(partial(whole_batch_loss, config=actor))
    every = json.loads(Path(batch_file).read_text())
    tokens = sum(len(each["completion"]) for each in every)
    data = _rows(every[rank::ranks])
    tensordict_utils.assign_non_tensor(
        data, num_mini_batch=1, tokens_per_step=float(tokens), global_batch_size=len(every), epochs=1, temperature=1.0,
        calculate_entropy=True, seed=1, dataloader_kwargs={"shuffle": False},
    )  # fmt: skip
    worker.train_mini_batch(data)
    state = worker.engine.module.state_dict()
    whole = {name: each.full_tensor() if isinstance(each, DTensor) else each for name, each in state.items()}
    if rank == 0:
        save_file({name: each.contiguous().clone() for name, each in whole.items()}, weights_file)
    torch.distributed.destroy_process_group()


def _rows(conversations: list[dict[str, list[int]]]) -> object:
    def nested(values: list[torch.Tensor]) -> torch.Tensor:
        return torch.nested.as_nested_tensor(values, layout=torch.jagged)

    prompts = [torch.tensor(each["prompt"]) for each in conversations]
    completions = [torch.tensor(each["completion"]) for each in conversations]
    lengths = [len(prompt) + len(completion) for prompt, completion in zip(prompts, completions, strict=True)]
    on = [torch.ones_like(each) for each in completions]
    return tensordict_utils.get_tensordict(
        {
            "input_ids": nested([torch.cat(pair) for pair in zip(prompts, completions, strict=True)]),
            "position_ids": nested([torch.arange(length) for length in lengths]),
            "attention_mask": nested([torch.ones(length, dtype=torch.long) for length in lengths]),
            "prompts": nested(prompts),
            "responses": nested(completions),
            "response_mask": nested(on),
            "loss_mask": nested(on),
            "old_log_probs": nested([torch.tensor(each["logprobs"]) for each in conversations]),
            "advantages": nested([torch.tensor(each["advantages"]) for each in conversations]),
        }
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
