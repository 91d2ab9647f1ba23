"""The settings of a training on a machine without a network: the preset `reader`, with micro-batches for a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from memagent.rl.config import TrainConfig, load_config

BASE = "qwen2.5-coder-0.5b"
GPU = ("optimiser.micro_tokens=32768",)


def settings(place: Path, more: Sequence[str]) -> TrainConfig:
    """The settings with the data in `place`, which `unpack.py` has filled; `more` are settings as for --set."""
    data = place / "data"
    files = {name: data / f"{name}.jsonl" for name in ("squad", "unanswerable", "hotpotqa", "paragraphs", "stories")}
    given = [f"policy.model={BASE}", f"problems.prose={data / 'books'}", *GPU]
    return load_config(None, "reader", [*given, *(f"problems.{name}={file}" for name, file in files.items()), *more])
