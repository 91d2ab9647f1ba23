"""Read and check a LoRA adapter on disk, as peft writes it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from memagent.errors import ModelError

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
A, B = ".lora_A.weight", ".lora_B.weight"

_PLAIN = {"use_rslora": False, "use_dora": False, "alpha_pattern": {}, "rank_pattern": {}, "modules_to_save": None}
"""Settings that go beyond plain LoRA, each with the value that turns it off."""


class AdapterConfig(BaseModel):
    """The part of `adapter_config.json` that memagent reads."""

    model_config = ConfigDict(strict=True, extra="allow")

    base_model_name_or_path: Annotated[str, AfterValidator(lambda name: "smollm2-135m" if name == "local" else name)]
    """Older versions called SmolLM2 `local` here."""
    r: Annotated[int, Field(ge=1)]
    lora_alpha: Annotated[float, Field(gt=0, allow_inf_nan=False)]


def adapter_config(folder: Path) -> AdapterConfig:
    """Return the settings of the adapter in `folder`.

    Raises:
        ModelError: they are missing or damaged.
    """
    try:
        return AdapterConfig.model_validate_json((folder / CONFIG).read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        what = ".".join(map(str, first["loc"])) or CONFIG
        raise ModelError(f"The adapter in {folder} is damaged ({what}: {first['msg']}): give another one.") from None
    except OSError as error:
        raise ModelError(f"The adapter in {folder} is damaged ({error}): give another one.") from error


def factors(folder: Path) -> tuple[dict[str, Any], float]:
    """Return the matrices of a plain LoRA adapter by peft's names, in pairs A and B, and the scale of their product.

    Raises:
        ModelError: the adapter is damaged, or is more than plain LoRA.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    config = adapter_config(folder)
    if more := [name for name, plain in _PLAIN.items() if ((config.model_extra or {}).get(name) or plain) != plain]:
        raise ModelError(
            f"The adapter in {folder} sets {more[0]}, but memagent merges only plain LoRA: give another adapter."
        )
    try:
        found = load_file(folder / WEIGHTS)
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelError(f"The adapter in {folder} is damaged ({error}): give another one.") from error
    for name in found:
        stem = name.removesuffix(A).removesuffix(B)
        a, b = found.get(stem + A), found.get(stem + B)
        if a is None or b is None or not (a.ndim == b.ndim == 2 and len(a) == b.shape[1] == config.r):
            raise ModelError(
                f"The adapter in {folder} is damaged ({name} is not part of a pair of rank {config.r}): give another "
                "one."
            )
    return found, config.lora_alpha / config.r
