"""The settings of `memagent train` as verl's, and a sentence for each setting that verl cannot follow."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from memagent.cluster.problem_table import index_file
from memagent.core.reading import shortest_prompts
from memagent.core.scoring import METRICS
from memagent.errors import UsageError
from memagent.models.catalogue import MODELS
from memagent.models.catalogue.policies import POLICIES
from memagent.readers import find_reader
from memagent.rl.config import TrainConfig
from memagent.rl.speaker import Speaker

NAME = "memagent"
"""Name of the agent loop and of the trainer in verl's registries."""


@dataclass(frozen=True, slots=True)
class RunFiles:
    """The files of a run. All machines must see them under the same paths."""

    folder: Path

    @property
    def problems(self) -> Path:
        return self.folder / "problems.parquet"

    @property
    def tests(self) -> Path:
        return self.folder / "tests.parquet"


def check(config: TrainConfig) -> None:
    """Raise a UsageError for the first setting that verl cannot follow."""
    wrong = {
        "verl has no warm start: run it first with `memagent train --set rl.steps=0`, then set policy.model to its "
        "checkpoint, and warmup.steps to 0.": config.warmup.steps > 0,
        "verl does not train from scratch or from GGUF files: set policy.model to a checkpoint, a Hugging Face folder "
        "or a name on the hub.": config.policy.model in ("nano", *MODELS, *POLICIES),
        "verl counts all tokens of a batch the same: set rl.weighting to token.": config.rl.weighting != "token",
        "verl gives credit to all conversations: set rl.credit to all.": config.rl.credit != "all",
        "verl keeps the learning rate constant: set optimiser.decay to 0.": config.optimiser.decay > 0,
    }
    for sentence, holds in wrong.items():
        if holds:
            raise UsageError(sentence)
    if config.problems.metric not in (None, *METRICS):
        raise UsageError(
            f"There is no metric {config.problems.metric}: problems.metric is one of {', '.join(METRICS)}."
        )


def unused(config: TrainConfig) -> list[str]:
    """Return a sentence for each setting that has no effect in verl, but does not change what is learnt."""
    return [
        sentence
        for sentence, holds in {
            "verl computes in bfloat16 (policy.precision).": config.policy.precision == "float32",
            "Checkpoints are saved by the number of steps only (watch.checkpoint_minutes).": (
                config.watch.checkpoint_minutes > 0
            ),
            "No sampled readings are written to traces/ (watch.trace_every).": config.watch.trace_every > 0,
            "There is no evaluation at the end (watch.final_lengths).": bool(config.watch.final_lengths),
        }.items()
        if holds
    ]


def lengths(speaker: Speaker, window: int) -> tuple[int, int]:
    """Return the maximum length of prompts and of completions, in tokens.

    Raises:
        UsageError: a prompt with a full question, memory and segment is longer than the window has room for.
    """
    defaults = speaker.defaults
    budget = defaults.budget
    completion = max(budget.memory, budget.answer)
    longest = longest_prompt(speaker)
    if longest + completion > window:
        raise UsageError(
            f"A prompt can have {longest:,} tokens and a completion {completion:,}, together more than the window of "
            f"{window:,}: lower problems.segment_tokens or problems.memory_tokens."
        )
    return window - completion, completion


def overrides(config: TrainConfig, files: RunFiles, speaker: Speaker, window: int) -> list[str]:
    """Return verl's settings, as changes to its own configuration in the syntax of Hydra."""
    rl, optimiser, policy, cluster, watch = (
        config.rl, config.optimiser, config.policy, config.cluster, config.watch,
    )  # fmt: skip
    prompt, completion = lengths(speaker, window)
    data = {
        "train_files": index_file(files.problems),
        "val_files": index_file(files.tests),
        "train_batch_size": rl.problems,
        "max_prompt_length": prompt,
        "max_response_length": completion,
        "shuffle": False,  # the problems are in the order in which they are drawn
        "seed": config.seed,
        "dataloader_num_workers": 0,  # a row is a few words
    }
    model = {
        "path": policy.model,
        "lora_rank": policy.lora_rank,
        "lora_alpha": 2 * policy.lora_rank,
        "enable_gradient_checkpointing": policy.gradient_checkpointing,
    }
    actor = {
        "strategy": "fsdp2",
        "ppo_mini_batch_size": rl.problems,  # not used: the trainer sets the number of mini-batches
        "use_dynamic_bsz": True,
        "ppo_max_token_len_per_gpu": max(optimiser.micro_tokens, prompt + completion),
        "clip_ratio": rl.clip_low,
        "clip_ratio_low": rl.clip_low,
        "clip_ratio_high": rl.clip_high,
        "clip_ratio_c": rl.dual_clip or 1e6,  # verl has no way to leave it out
        "use_kl_loss": rl.kl > 0,
        "kl_loss_coef": rl.kl,
        "kl_loss_type": "low_var_kl",  # k3
        "calculate_entropy": True,
        "data_loader_seed": config.seed,
        "grad_clip": optimiser.max_norm,
        "fsdp_config.seed": config.seed,
        "optim.lr": rl.learning_rate,
        "optim.lr_warmup_steps": -(-optimiser.warmup_steps // rl.optimiser_steps),  # verl counts batches
        "optim.weight_decay": optimiser.weight_decay,
        "optim.betas": f"[0.9,{optimiser.beta2}]",
        "checkpoint.save_contents": "[model,optimizer,extra,hf_model]",
    }
    rollout = {
        "name": cluster.sampler,
        "n": rl.group,
        "temperature": rl.temperature,
        "calculate_log_probs": True,
        "tensor_model_parallel_size": cluster.tensor_parallel,
        "gpu_memory_utilization": cluster.sampler_memory,
        "agent.default_agent_loop": NAME,
        "seed": config.seed,
    }
    algorithm = {
        "adv_estimator": "grpo",  # the only one that compares rollouts and not conversations
        "norm_adv_by_std_in_grpo": rl.divide_by_std,
        "filter_groups.enable": rl.draws > 1,
        "filter_groups.metric": "score",
        # The ratio uses the log-probabilities that were recorded while sampling.
        "rollout_correction.bypass_mode": True,
    }
    trainer = {
        "v1.trainer_mode": NAME,
        "total_epochs": 1_000_000,  # total_training_steps decides
        "total_training_steps": rl.steps,
        "project_name": watch.wandb or NAME,
        "experiment_name": files.folder.name,
        "logger": "[wandb]" if watch.wandb else "[]",  # the trainer writes metrics.jsonl itself
        "nnodes": cluster.nodes,
        "n_gpus_per_node": cluster.gpus,
        "save_freq": watch.checkpoint_every,
        "test_freq": watch.evaluate_every or -1,
        "val_before_train": False,
        "default_local_dir": files.folder / "verl",
        "checkpoint_callback_class": "memagent.cluster.saved.Saved",
    }
    own = {
        "folder": files.folder,
        "problems": files.problems,
        "tests": files.tests,
        "optimiser_steps": rl.optimiser_steps,
        "overlong_margin": rl.overlong_margin,
    }
    parts = {
        "data": data,
        "actor_rollout_ref.model": model,
        "actor_rollout_ref.actor": actor,
        "actor_rollout_ref.rollout": rollout,
        "algorithm": algorithm,
        "trainer": trainer,
        "+memagent": own,
    }
    translated = [
        f"{part}.{name}={_written(value)}" for part, values in parts.items() for name, value in values.items()
    ]
    return [*translated, *config.cluster.verl]


def longest_prompt(speaker: Speaker) -> int:
    """Return the length of the longest prompt of a reading, whose question, memory and segment have full length."""
    defaults = speaker.defaults
    budget = defaults.budget
    shortest = shortest_prompts(find_reader(defaults.reader), "", budget, defaults.prompts)
    sizes = {kind: len(speaker.render(messages)) for kind, messages in shortest.items()}
    return max(size + (budget.segment if kind == "memorize" else 0) for kind, size in sizes.items()) + (
        budget.question + budget.memory
    )


def _written(value: object) -> str:
    """Write a value in the syntax of Hydra, in which some characters of a path would have a meaning."""
    return f"'{value}'" if isinstance(value, Path) else str(value)
