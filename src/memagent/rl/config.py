"""The settings of a training run, from a TOML file or a preset and `--set section.key=value`. Unknown keys are refused.

`presets/nano.toml` shows them in use. Settings that are left out have the defaults given here. A training run may have
`[[parts]]` that run one after another, each with its own settings on top of the common ones: see `load_parts`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError

from memagent.core.prompts import Layout
from memagent.errors import UsageError
from memagent.readers import NAMES
from memagent.rl.credit import Weighting

Positive = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


def _known(reader: str) -> str:
    if reader not in NAMES:
        raise ValueError(f"give {', '.join(NAMES)}")
    return reader


ReaderName = Annotated[str, AfterValidator(_known)]
Rate = Annotated[float, Field(gt=0)]

_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True)
class PolicyConfig:
    """The model to train."""

    __pydantic_config__ = _STRICT

    model: str = "nano"
    """`nano` (from scratch), a name from `memagent models`, a Hugging Face name, or the folder of a Hugging Face model,
    an adapter or a checkpoint."""
    lora_rank: Natural = 0
    """Rank of the LoRA adapter to train; 0 trains all weights."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of the computation; `auto`: bfloat16 on a GPU, float32 on a CPU. Trained weights stay in float32."""
    gradient_checkpointing: bool = False
    """Whether to recompute activations in the backward pass, which saves memory and takes longer."""


@dataclass(frozen=True, slots=True)
class ProblemsConfig:
    """The problems to train on: every task at every length, in turn."""

    __pydantic_config__ = _STRICT

    tasks: tuple[str, ...] = ("colours",)
    lengths: tuple[str, ...] = ("200",)
    warmup_tasks: tuple[str, ...] = ()
    """Tasks of the warm start; empty means `tasks`."""
    warmup_lengths: tuple[str, ...] = ()
    """Lengths of the warm start; empty means `lengths`."""
    metric: str | None = None
    """Name of the reward in memagent.core.scoring.METRICS; None means each task's first metric."""
    segment_tokens: Positive | None = None
    """Token limit of a segment. If left out, this setting and the next three are the model's own defaults, for most
    models the paper's."""
    memory_tokens: Positive | None = None
    answer_tokens: Positive | None = None
    layouts: tuple[Layout, ...] = ()
    """Prompt layouts; the first becomes the policy's default. One is drawn per document, more often if listed twice."""
    reader: ReaderName | None = None
    """Name of a reader in memagent.readers; None means the model's own default."""
    overwriting: Share = 0.0
    """Share of the warm-start steps that practise `overwrite`, in `layouts`, if the reader is `collect`."""
    overwriting_problems: Positive = 2
    """Problems in such a step. Their prompts share no prefix, so a few cost as much as many that do."""
    skips: Share = 1.0
    """Of the segments that add nothing, the share with the ideal reply NO CHANGE, for readers with a gate."""
    brevity: Share = 0.0
    """Share of the reward in RL that is lost if every reply before the answer has the maximum length."""
    slips: tuple[Share, ...] = (0.0,)
    """Shares of segments with a mistake (see memagent.rl.oracle.slipping); one share is drawn for each problem."""
    prose: str | None = None
    """Path of a data source. This and the next six are the sources of the tasks, see memagent.tasks.catalog.Data."""
    squad: str | None = None
    hotpotqa: str | None = None
    paragraphs: str | None = None
    words: str | None = None
    unanswerable: str | None = None
    stories: str | None = None


@dataclass(frozen=True, slots=True)
class WarmupConfig:
    """The supervised warm start."""

    __pydantic_config__ = _STRICT

    steps: Natural = 0
    """Maximum number of optimiser steps; 0 skips the warm start."""
    source: Literal["ideal", "own"] = "ideal"
    """What to imitate: a perfect reader, or the policy's own rollouts with the best reward of their group."""
    problems: Positive = 64
    """Problems in a batch, which is one optimiser step."""
    group: Positive = 8
    """Rollouts of each problem if `source` is `own`."""
    workers: Natural = 0
    """Processes that make lessons ahead of time; 0 makes them between the steps."""
    learning_rate: Rate = 1e-4
    stop_at: Share = 1.0
    """Accuracy at the first evaluation length that ends the warm start early."""
    unchanged: Share = 1.0
    """Share of the no-change conversations (a perfect reader leaves the memory as it is) to learn from."""
    easy: Share = 1.0
    """Share of the easy conversations (a second look that finds nothing more, an answer from an empty memory) to learn
    from."""
    abstaining: Share = 1.0
    """Share of the abstaining answers ("The text does not say") to learn from. They all begin with the same words, so
    greedy decoding prefers them to any one uncertain answer."""


@dataclass(frozen=True, slots=True)
class RLConfig:
    """Multi-Conv DAPO."""

    __pydantic_config__ = _STRICT

    steps: Natural = 100
    """Batches to sample. The policy learns from each in `optimiser_steps`."""
    problems: Positive = 16
    """Groups in a batch, one for each problem."""
    group: Annotated[int, Field(ge=2)] = 16
    """Rollouts in a group."""
    optimiser_steps: Positive = 1
    """Optimiser steps for each batch; fewer if the batch has fewer groups."""
    learning_rate: Rate = 1e-5
    clip_low: Share = 0.2
    """The ratio of probabilities is clipped to 1 - `clip_low` … 1 + `clip_high`."""
    clip_high: Annotated[float, Field(ge=0)] = 0.28
    dual_clip: Annotated[float, Field(gt=1)] | None = None
    """Bound on the loss of tokens with a negative advantage, see memagent.train.loss.Clip; None sets no bound."""
    kl: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the KL divergence from the policy that RL started with."""
    credit: Literal["all", "last"] = "all"
    """Which conversations get credit for their rollout's reward. `last` is for the ablation."""
    divide_by_std: bool = False
    """Whether to divide advantages by the standard deviation of their group's rewards, as in GRPO."""
    weighting: Weighting = "token"
    """Whether all tokens of a batch count the same, or all rollouts."""
    draws: Positive = 4
    """Maximum number of draws for a batch (dynamic sampling). Groups with equal rewards teach nothing, so they are
    dropped and others are drawn until the batch is full; 1 draws no others."""
    overlong_margin: Natural = 0
    """Completions within this many tokens of their limit get a soft penalty; 0 means no penalty."""
    temperature: Rate = 1.0


@dataclass(frozen=True, slots=True)
class OptimiserConfig:
    """AdamW with clipped gradients, and a linear warm-up to a constant learning rate."""

    __pydantic_config__ = _STRICT

    warmup_steps: Natural = 20
    decay: Share = 0.0
    """Share of a stage's steps, at its end, in which the learning rate falls linearly to zero."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999
    max_norm: Rate = 1.0
    micro_tokens: Positive = 8192
    """Maximum number of tokens in a micro-batch, including padding."""


@dataclass(frozen=True, slots=True)
class WatchConfig:
    """Evaluations, logs and checkpoints. Each "every" counts steps; 0 means never."""

    __pydantic_config__ = _STRICT

    evaluate_every: Natural = 50
    evaluate_samples: Positive = 100
    lengths: tuple[str, ...] = ()
    """Lengths of the evaluations during training; empty means the first training length."""
    final_lengths: tuple[str, ...] = ()
    """Lengths of the evaluation at the end, of the policy before and after RL."""
    final_samples: Positive = 100
    trace_every: Natural = 50
    checkpoint_every: Positive = 50
    checkpoint_minutes: Natural = 0
    """Also save a checkpoint when the last one is this many minutes old; 0 turns this off."""
    wandb: str | None = None
    """Weights & Biases project that also gets the metrics; needs the package wandb. None means no project."""


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """The machines that `memagent train --engine verl` uses. Training on one machine ignores it."""

    __pydantic_config__ = _STRICT

    nodes: Positive = 1
    gpus: Positive = 8
    """GPUs of each node."""
    sampler: str = "vllm"
    """verl's name of the engine that samples: `vllm`, `sglang` or one that a plug-in registers."""
    tensor_parallel: Positive = 1
    """GPUs that share one copy of the sampler's weights."""
    sampler_memory: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Share of a GPU's memory that the sampler may use."""
    window: Positive | None = None
    """Most tokens of a prompt and its completion together; None means the model's context window."""
    documents: Positive | None = None
    """Number of problems to write to disk; verl starts again after the last one. None means enough for `rl.draws`
    draws in each step."""
    verl: tuple[str, ...] = ()
    """More settings of verl, such as "trainer.device=cpu"."""


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """The settings of a training run, or of one of its parts."""

    __pydantic_config__ = _STRICT

    seed: Natural = 0
    sample_tokens: Positive = 65536
    """Maximum number of prompt and completion tokens in a batch of the sampler. Shared prefixes are not counted."""
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    problems: ProblemsConfig = field(default_factory=ProblemsConfig)
    warmup: WarmupConfig = field(default_factory=WarmupConfig)
    rl: RLConfig = field(default_factory=RLConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    watch: WatchConfig = field(default_factory=WatchConfig)
    cluster: ClusterConfig = field(default_factory=ClusterConfig)


_CONFIG = TypeAdapter(TrainConfig)


def load_config(file: str | Path | None = None, preset: str | None = None, sets: Sequence[str] = ()) -> TrainConfig:
    """Load the settings of a training run with one part; arguments as for `load_parts`.

    Raises:
        UsageError: a setting is wrong, or there are several parts.
    """
    parts = load_parts(file, preset, sets)
    if len(parts) > 1:
        raise UsageError(f"This training run has {len(parts)} parts: start it with `memagent train`.")
    return parts[0]


def load_parts(
    file: str | Path | None = None, preset: str | None = None, sets: Sequence[str] = ()
) -> list[TrainConfig]:
    """Load the settings of each part of a training run from a TOML file or a preset.

    Args:
        sets: changes such as "section.key=value", made to every part. Values are TOML; a word without quotes is text.

    Raises:
        UsageError: a setting is wrong; the message names it.
    """
    if (file is None) == (preset is None):
        raise UsageError("Training needs one configuration: give a TOML file, or --preset NAME.")
    name = str(file) if file is not None else f"the preset {preset}"
    try:
        text = Path(file).read_text(encoding="utf-8-sig") if file is not None else _preset(str(preset))
        found: dict[str, Any] = tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The configuration {name} cannot be read: {error}.") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"The configuration {name} is not TOML: {error}.") from error
    parts = found.pop("parts", None) or [{}]
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        raise UsageError("The setting parts is wrong: write [[parts]], once for each part.")
    return [_validated(_merged(found, part), sets) for part in parts]


def _validated(found: dict[str, Any], sets: Sequence[str]) -> TrainConfig:
    for each in sets:
        _set(found, each)
    try:
        return _CONFIG.validate_python(found)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            raise UsageError(f"There is no setting {key}: the settings are described in memagent.rl.config.") from None
        raise UsageError(f"The setting {key} is wrong: {first['msg']}.") from None


def _merged(common: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """The common settings with a part's own on top. Neither argument is changed."""
    found = deepcopy(common)
    for key, value in own.items():
        before = found.get(key)
        found[key] = _merged(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return found


def presets() -> list[str]:
    return sorted(file.name.removesuffix(".toml") for file in (files("memagent.rl") / "presets").iterdir())


def as_dict(config: TrainConfig) -> dict[str, Any]:
    found: dict[str, Any] = _CONFIG.dump_python(config, mode="json")
    return found


def _preset(name: str) -> str:
    if name not in presets():
        raise UsageError(f"There is no preset {name}: give {', '.join(presets())}.")
    return (files("memagent.rl") / "presets" / f"{name}.toml").read_text(encoding="utf-8")


def _set(found: dict[str, Any], text: str) -> None:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageError(f"--set takes section.key=value, not {text!r}.")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value
    *sections, key = name.strip().split(".")
    for section in sections:
        found = found.setdefault(section, {})
        if not isinstance(found, dict):
            raise UsageError(f"There is no setting {name}: {section} is not a section.")
    found[key] = parsed
