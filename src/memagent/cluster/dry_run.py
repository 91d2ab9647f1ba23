"""A dry run: checks a training run and counts its tokens and memory, without GPUs, Ray or weights."""

from __future__ import annotations

import io
import shutil
import warnings
from collections.abc import Iterator
from contextlib import redirect_stdout
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from memagent.cluster import translate
from memagent.cluster.gpu_memory import GpuMemory, ModelSize, estimate
from memagent.cluster.launch import check_registered, composed, load_speaker, prepare
from memagent.cluster.problem_table import ProblemTable
from memagent.cluster.translate import RunFiles
from memagent.core.records import Completion
from memagent.errors import ModelError, UsageError
from memagent.rl.config import TrainConfig
from memagent.rl.problems import Problem
from memagent.rl.rollouts import Attempt
from memagent.rl.speaker import Speaker

_PROBLEMS = 3
_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2, "float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True, slots=True)
class DryRun:
    """The figures of a dry run. Those of a step are for memories and answers of full length."""

    folder: Path
    """Folder with the problems, and verl's configuration in `verl.yaml`."""
    size: ModelSize
    gpus: int
    readings: int
    """Readings of a step."""
    conversations: float
    """Conversations of a step."""
    tokens: float
    """Tokens of a step."""
    longest_prompt: int
    """Tokens of a prompt whose question, memory and segment have full length."""
    prompt_limit: int
    completion_limit: int
    memory: GpuMemory
    sampler_share: float
    """Share of a GPU's memory that the sampler may use."""
    reference: float
    """Bytes of main memory, on each node, for the weights that RL starts with; 0 without a KL divergence."""


def dry_run(config: TrainConfig, out: Path) -> DryRun:
    """Write a few problems and verl's configuration to OUT/dry-run, and check and count everything that is possible.

    Raises:
        UsageError: verl cannot follow a setting, or is not installed.
        ModelError: the tokenizer or the configuration of the model cannot be loaded.
        RunError: verl has not loaded the plug-in.
    """
    translate.check(config)
    folder = out.absolute() / "dry-run"
    shutil.rmtree(folder, ignore_errors=True)
    few = replace(
        config,
        cluster=replace(config.cluster, documents=_PROBLEMS),
        watch=replace(config.watch, evaluate_samples=_PROBLEMS),
    )
    verl_config = composed(prepare(few, folder))
    check_registered()
    actor, model = _check(verl_config)
    _save(verl_config, folder / "verl.yaml")

    speaker, window = load_speaker(config)
    prompt, completion = translate.lengths(speaker, window)
    table = ProblemTable(RunFiles(folder).problems)
    counted = [_count(table.problem(number, speaker), speaker) for number in range(len(table))]
    readings = config.rl.problems * config.rl.group
    size, cluster = _size(model.hf_config, config.policy.model, config.policy.lora_rank), config.cluster
    kept = _BYTES[actor.fsdp_config.model_dtype]
    with_reference = config.rl.kl > 0 and not config.policy.lora_rank  # an adapter is switched off instead
    return DryRun(
        folder,
        size,
        gpus=cluster.nodes * cluster.gpus,
        readings=readings,
        conversations=readings * sum(conversations for conversations, _ in counted) / len(counted),
        tokens=readings * sum(tokens for _, tokens in counted) / len(counted),
        longest_prompt=translate.longest_prompt(speaker),
        prompt_limit=prompt,
        completion_limit=completion,
        memory=estimate(
            size,
            cluster.nodes * cluster.gpus,
            actor.ppo_max_token_len_per_gpu,
            kept=kept,
            checkpointing=config.policy.gradient_checkpointing,
            tensor_parallel=cluster.tensor_parallel,
        ),
        sampler_share=cluster.sampler_memory,
        reference=kept * size.weights / cluster.nodes if with_reference else 0.0,
    )


def lines(found: DryRun) -> Iterator[tuple[str, str]]:
    """Yield each figure for people, with its name."""
    size, memory = found.size, found.memory
    yield "weights", f"{size.weights / 1e9:.2f} billion, {_share(size)}"
    yield (
        "prompts",
        f"up to {found.longest_prompt:,} tokens (the limit is {found.prompt_limit:,}), and completions of up to "
        f"{found.completion_limit:,}",
    )
    yield (
        "a step",
        f"{found.readings:,} readings, {found.conversations:,.0f} conversations, up to {found.tokens / 1e6:,.0f} "
        "million tokens",
    )
    yield (
        "learning",
        f"about {_gb(memory.learning)} on each of {found.gpus} GPUs: weights {_gb(memory.weights)}, gradients "
        f"{_gb(memory.gradients)}, optimiser {_gb(memory.optimiser)}, activations {_gb(memory.activations)}, logits "
        f"{_gb(memory.logits)}",
    )
    yield (
        "sampling",
        f"{_gb(memory.sampling)} and {found.sampler_share:.0%} of the GPU for the sampler, whose weights take "
        f"{_gb(memory.sampler)}",
    )
    if found.reference:
        yield "main memory", f"{_gb(found.reference)} on each node for the weights that RL starts with"
    yield (
        "left out",
        "Ray, the sampler, loading weights, buffers for communication, and the layer that is being computed",
    )
    yield "written", f"{_PROBLEMS} problems and verl.yaml, to {found.folder}"


def _check(verl_config: Any) -> tuple[Any, Any]:
    """Build verl's own objects as far as that works without Ray. Returns those of the actor and of the model.

    Raises:
        UsageError: verl refuses a setting.
    """
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from verl.trainer.ppo.utils import need_critic, need_reference_policy
    from verl.trainer.ppo.v1.trainer_base import TRAINER_REGISTRY
    from verl.utils.config import omega_conf_to_dataclass, validate_config

    try:
        with redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            validate_config(verl_config, need_reference_policy(verl_config), need_critic(verl_config))
            parts = verl_config.actor_rollout_ref
            omega_conf_to_dataclass(parts.rollout)
            TRAINER_REGISTRY[translate.NAME](deepcopy(verl_config))  # and its replay buffer
            return omega_conf_to_dataclass(parts.actor), omega_conf_to_dataclass(parts.model)
    except (AssertionError, ValueError, HydraException, OmegaConfBaseException) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise UsageError(f"verl refuses the settings: {reason}.") from error


def _save(verl_config: Any, file: Path) -> None:
    from omegaconf import OmegaConf

    file.write_text(OmegaConf.to_yaml(verl_config, resolve=True), encoding="utf-8")


def _count(problem: Problem, speaker: Speaker) -> tuple[int, int]:
    """Return the conversations and tokens of a reading in which every completion has full length."""
    assert problem.source is not None
    words = speaker.tokenizer.ids(problem.source.document)
    attempt, conversations, tokens = Attempt(problem), 0, 0
    while attempt.wanted:
        place, request = next(iter(attempt.wanted.items()))
        conversations += 1
        tokens += len(speaker.render(request.messages)) + request.max_tokens
        attempt.take(Completion(speaker.decode(words[: request.max_tokens])), place)
    return conversations, tokens


def _size(model_config: Any, name: str, lora_rank: int) -> ModelSize:
    """Count the weights of a model, which is built without memory for them.

    Raises:
        ModelError: the model does not write text.
    """
    import torch
    from transformers import AutoModelForCausalLM

    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(model_config, attn_implementation="sdpa")
    except ValueError as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise ModelError(f"{name} is not a language model ({reason}): set policy.model to one.") from error
    weights = sum(each.numel() for each in model.parameters())
    linear = [each for each in model.modules() if isinstance(each, torch.nn.Linear)]
    adapter = sum(
        lora_rank * (each.in_features + each.out_features)
        for each in linear
        if each is not model.get_output_embeddings()
    )
    return ModelSize(
        weights + adapter,
        adapter or weights,
        model_config.num_hidden_layers,
        model_config.hidden_size,
        model_config.intermediate_size,
        model_config.vocab_size,
    )


def _share(size: ModelSize) -> str:
    return (
        "all of them trained" if size.trained == size.weights else f"{size.trained / 1e6:,.1f} million of them trained"
    )


def _gb(size: float) -> str:
    return f"{size / 1e9:.1f} GB"
