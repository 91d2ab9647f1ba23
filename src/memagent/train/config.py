"""The settings of a training run: TOML, a preset, and `--set section.key=value`. An unknown key is refused.

`presets/nano.toml` shows them in use. Sections that are left out have the values given here. A training may have
`[[parts]]`, one after the other, each with settings of its own on top of the common ones: see `load_parts`.
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
from memagent.readers import READERS
from memagent.rl.credit import Weighting

Positive = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


def _known(reader: str) -> str:
    if reader not in READERS:
        raise ValueError(f"give {', '.join(READERS)}")
    return reader


ReaderName = Annotated[str, AfterValidator(_known)]
Rate = Annotated[float, Field(gt=0)]

_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True)
class PolicyConfig:
    """What is trained."""

    __pydantic_config__ = _STRICT

    model: str = "nano"
    """`nano` (from scratch), `local` (the default model), or a Hugging Face folder or name."""
    lora_rank: Natural = 0
    """0 trains all weights."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the computation: bfloat16 on a GPU, float32 on a CPU. Weights that are trained stay in float32."""
    gradient_checkpointing: bool = False


@dataclass(frozen=True, slots=True)
class ProblemsConfig:
    """What it is trained on: tasks x lengths, one after the other."""

    __pydantic_config__ = _STRICT

    tasks: tuple[str, ...] = ("colours",)
    lengths: tuple[str, ...] = ("200",)
    warmup_tasks: tuple[str, ...] = ()
    """Of the warm start; those of `tasks` where there are none."""
    warmup_lengths: tuple[str, ...] = ()
    """Of the warm start; those of `lengths` where there are none."""
    metric: str | None = None
    """The reward, in memagent.core.scoring.METRICS; each task's first metric where there is none."""
    segment_tokens: Positive | None = None
    """These three, and the layout: what the model is used to where they are left out, the paper's for most."""
    memory_tokens: Positive | None = None
    answer_tokens: Positive | None = None
    layouts: tuple[Layout, ...] = ()
    """The first is what the policy will be used to; one is drawn for each document, oftener if it is named twice."""
    reader: ReaderName | None = None
    """See memagent.readers; what the model is used to where it is left out."""
    overwriting: Share = 0.0
    """Of the steps of the warm start, where the memory collects: the share in which it is overwritten, in `layouts`."""
    overwriting_problems: Positive = 2
    """Of such a step. Its prompts share nothing, and cost as much as many that do."""
    slips: tuple[Share, ...] = (0.0,)
    """See memagent.rl.oracle.slipping; one is drawn for each problem."""
    prose: str | None = None
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
    """At most; 0 leaves it out."""
    source: Literal["ideal", "own"] = "ideal"
    """Completions of a perfect reader, or the policy's own rollouts with the best reward of their group."""
    problems: Positive = 64
    """Of a batch, which is an optimiser step."""
    group: Positive = 8
    """Rollouts of a problem, for the policy's own."""
    workers: Natural = 0
    """Processes that make lessons ahead; 0 makes them between the steps."""
    learning_rate: Rate = 1e-4
    stop_at: Share = 1.0
    """The warm start ends early when the first evaluation has this accuracy."""
    unchanged: Share = 1.0
    """Of the conversations of a perfect reader that leave the memory as it was, the share that is learnt from."""
    easy: Share = 1.0
    """Of the conversations that are soon learnt (another look that finds nothing more, an answer from an empty
    memory), the share that is learnt from."""
    abstaining: Share = 1.0
    """Share of the abstaining answers ("The text does not say") to learn from. They all begin with the same words, so
    greedy decoding prefers them to any one uncertain answer."""


@dataclass(frozen=True, slots=True)
class RLConfig:
    """Multi-Conv DAPO."""

    __pydantic_config__ = _STRICT

    steps: Natural = 100
    """Batches; each is sampled, and then learnt from in `optimiser_steps`."""
    problems: Positive = 16
    """Groups of a batch."""
    group: Annotated[int, Field(ge=2)] = 16
    """Rollouts of a group."""
    optimiser_steps: Positive = 1
    """Of a batch, or one a group where there are fewer groups."""
    learning_rate: Rate = 1e-5
    clip_low: Share = 0.2
    clip_high: Annotated[float, Field(ge=0)] = 0.28
    dual_clip: Annotated[float, Field(gt=1)] | None = None
    kl: Annotated[float, Field(ge=0)] = 0.0
    """The weight of the divergence from the policy that RL began with."""
    credit: Literal["all", "last"] = "all"
    """Which conversations of a rollout learn from its reward. `last` is for the ablation."""
    divide_by_std: bool = False
    weighting: Weighting = "token"
    draws: Positive = 4
    """Dynamic sampling: groups of equal reward teach nothing. They are dropped and others drawn until the batch is full
    or there were so many draws; 1 draws no others."""
    overlong_margin: Natural = 0
    """Soft punishment of completions that come within so many tokens of their limit; 0 is none."""
    temperature: Rate = 1.0


@dataclass(frozen=True, slots=True)
class OptimiserConfig:
    """AdamW, a linear warm-up to a constant rate, clipped gradients."""

    __pydantic_config__ = _STRICT

    warmup_steps: Natural = 20
    decay: Share = 0.0
    """The share of a stage's steps, its last ones, in which the rate falls linearly to nothing."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999
    max_norm: Rate = 1.0
    micro_tokens: Positive = 8192
    """Of a micro-batch, padding counted."""


@dataclass(frozen=True, slots=True)
class WatchConfig:
    """How it is looked at, and kept. Each "every" counts steps; 0 is never."""

    __pydantic_config__ = _STRICT

    evaluate_every: Natural = 50
    evaluate_samples: Positive = 100
    lengths: tuple[str, ...] = ()
    """Of the evaluations while training; the first training length where there are none."""
    final_lengths: tuple[str, ...] = ()
    """Of the evaluation at the end, of the policy before and after RL."""
    final_samples: Positive = 100
    trace_every: Natural = 50
    checkpoint_every: Positive = 50
    checkpoint_minutes: Natural = 0
    """Besides: a checkpoint when the last one is so old. 0 leaves it to the steps."""


@dataclass(frozen=True, slots=True)
class TrainConfig:
    __pydantic_config__ = _STRICT

    seed: Natural = 0
    sample_tokens: Positive = 65536
    """Of prompts and completions in one batch of the sampler; what prompts have in common is not counted."""
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    problems: ProblemsConfig = field(default_factory=ProblemsConfig)
    warmup: WarmupConfig = field(default_factory=WarmupConfig)
    rl: RLConfig = field(default_factory=RLConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    watch: WatchConfig = field(default_factory=WatchConfig)


_CONFIG = TypeAdapter(TrainConfig)


def load_config(file: str | Path | None = None, preset: str | None = None, sets: Sequence[str] = ()) -> TrainConfig:
    """The settings of a training that has one part; otherwise as `load_parts`."""
    parts = load_parts(file, preset, sets)
    if len(parts) > 1:
        raise UsageError(f"The training has {len(parts)} parts: run it with `memagent train`.")
    return parts[0]


def load_parts(
    file: str | Path | None = None, preset: str | None = None, sets: Sequence[str] = ()
) -> list[TrainConfig]:
    """The settings in a TOML file or a preset, with single ones changed: of each part of the training.

    Args:
        sets: "section.key=value", the value as in TOML; a word without quotes is text. They hold for all parts.

    Raises:
        UsageError: which setting is wrong.
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
            raise UsageError(
                f"There is no setting {key}: the settings are described in memagent.train.config."
            ) from None
        raise UsageError(f"The setting {key} is wrong: {first['msg']}.") from None


def _merged(common: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """The common settings with a part's own on top; neither is changed."""
    found = deepcopy(common)
    for key, value in own.items():
        before = found.get(key)
        found[key] = _merged(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return found


def presets() -> list[str]:
    return sorted(file.name.removesuffix(".toml") for file in (files("memagent.train") / "presets").iterdir())


def as_dict(config: TrainConfig) -> dict[str, Any]:
    found: dict[str, Any] = _CONFIG.dump_python(config, mode="json")
    return found


def _preset(name: str) -> str:
    if name not in presets():
        raise UsageError(f"There is no preset {name}: give {', '.join(presets())}.")
    return (files("memagent.train") / "presets" / f"{name}.toml").read_text(encoding="utf-8")


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
