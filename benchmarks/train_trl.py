"""Runs TRL's GRPOTrainer on the same work, in its own environment, and prints tokens per second. `train.py` runs it.

Arguments: MODEL PROMPTS.json COMPLETION GROUPS GROUP. Completions have exactly COMPLETION tokens; batches have
GROUPS x GROUP of them.
"""

from __future__ import annotations

import json
import random
import sys
import time
from tempfile import TemporaryDirectory
from typing import Any

import torch
from datasets import Dataset
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer

model, file, *numbers = sys.argv[1:]
completion, groups, group = map(int, numbers)
with open(file, encoding="utf-8") as opened:
    prompts = json.load(opened)


def reward(completions: list[Any], **_: Any) -> list[float]:
    return [random.random() for _ in completions]


class Clock(TrainerCallback):  # type: ignore[misc]
    def __init__(self) -> None:
        self.times: list[float] = []

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self.times.append(time.perf_counter())

    def on_train_end(self, *_: Any, **__: Any) -> None:
        self.times.append(time.perf_counter())


with TemporaryDirectory() as out:
    config = GRPOConfig(
        output_dir=out,
        max_steps=len(prompts) // groups,
        per_device_train_batch_size=group,
        gradient_accumulation_steps=groups,
        num_generations=group,
        max_completion_length=completion,
        generation_kwargs={"min_new_tokens": completion},
        temperature=1.0,
        learning_rate=1e-6,
        beta=0.0,
        loss_type="dapo",
        scale_rewards="none",
        bf16=False,
        use_cpu=not torch.cuda.is_available(),
        gradient_checkpointing=False,
        shuffle_dataset=False,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        model_init_kwargs={"dtype": "float32"},
    )
    clock = Clock()
    data = Dataset.from_list([{"prompt": [{"role": "user", "content": prompt}]} for prompt in prompts])
    trainer = GRPOTrainer(model=model, reward_funcs=reward, args=config, train_dataset=data, callbacks=[clock])
    tokenizer = trainer.processing_class
    lengths = [
        len(tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True, tokenize=True)["input_ids"])
        for row in data
    ]
    trainer.train()
steps = len(prompts) // groups
tokens = sum(group * (length + completion) for length in lengths[groups:])  # the first step is left out
print(json.dumps(tokens / (clock.times[-1] - clock.times[1])))
