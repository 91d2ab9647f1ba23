"""Copy the adapter of a checkpoint to ship it: the weights in float16 and the defaults, without the training state.

    python examples/ship.py runs/mine/checkpoints/rl-000050 my-policy
    memagent ask "Who hid the compass?" novel.txt --model local:my-policy

`local:` takes adapters of a model in the catalogue.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from memagent.models.reader_defaults import FILE as DEFAULTS


def ship(checkpoint: Path, out: Path) -> int:
    """Write the adapter to `out`. Returns the size of its weights in bytes."""
    out.mkdir(parents=True, exist_ok=True)
    for name in ("adapter_config.json", DEFAULTS):
        shutil.copy(checkpoint / name, out / name)
    weights = load_file(checkpoint / "adapter_model.safetensors")
    shipped = out / "adapter_model.safetensors"
    save_file({name: each.to(torch.float16) for name, each in weights.items()}, shipped, metadata={"format": "pt"})
    return shipped.stat().st_size


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    if not (Path(sys.argv[1]) / "adapter_model.safetensors").is_file():
        sys.exit(f"There is no adapter in {sys.argv[1]}: give a checkpoint of a training with policy.lora_rank.")
    print(f"{ship(Path(sys.argv[1]), Path(sys.argv[2])):,} bytes")
