"""Pack what a machine without a network needs to train the reader: weights, data and wheels, in parts.

    python training/kit/pack.py DATA KIT [MODEL [PYTHON]]

DATA is what `prepare.py` wrote, MODEL a GGUF file (qwen2.5-coder-0.5b of the catalogue unless another is given). KIT
gets the folders 00, 01 … of at most 56 MiB each: send one after the other, see training/README.md. PYTHON is the
version on the machine that trains, 3.12 unless another is given.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from parts import split

from memagent.catalogue import model_path
from memagent.train.models import dequantised

MEBIBYTES = 56
WHEELS = (
    "annotated-types", "gguf", "platformdirs", "pydantic", "pydantic_core", "rapidfuzz", "typing-inspection",
    "wonderwords",
)  # fmt: skip
"""What memagent needs there beside torch, transformers, peft, accelerate and tensorboard, which are there."""


def pack(data: Path, kit: Path, model: Path, python: str) -> list[Path]:
    """The folders to be sent, in order."""
    shutil.rmtree(kit, ignore_errors=True)
    kit.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as temporary:
        small = Path(temporary) / "small.tar.gz"
        with tarfile.open(small, "w:gz", compresslevel=6) as archive:
            archive.add(data, "data")
            for name in ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"):
                archive.add(dequantised(model) / name, f"model/{name}")
            if (template := dequantised(model) / "chat_template.jinja").is_file():
                archive.add(template, f"model/{template.name}")
            archive.add(_wheels(Path(temporary) / "wheels", python), "wheels")
        weights = Path(temporary) / "weights.gguf"
        weights.symlink_to(model)
        parts = [*split(weights, kit, MEBIBYTES), *split(small, kit, MEBIBYTES)]
    folders = []
    for number, part in enumerate(parts):
        folders.append(kit / f"{number:02}")
        folders[-1].mkdir()
        part.rename(folders[-1] / part.name)
    for manifest in kit.glob("*.parts.json"):
        manifest.rename(folders[-1] / manifest.name)
    return folders


def _wheels(folder: Path, python: str) -> Path:
    """The wheels, in the versions that constraints.txt pins."""
    pins = dict(line.lower().split("==") for line in Path("constraints.txt").read_text(encoding="utf-8").split())
    named = [f"{name}=={pins[name]}" for name in WHEELS]
    platforms = [f"--platform={name}_x86_64" for name in ("manylinux_2_28", "manylinux_2_17", "manylinux2014")]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += [f"--python-version={python}", "--implementation=cp", *platforms, "--dest", str(folder), *named]
    subprocess.run(command, check=True)
    return folder


if __name__ == "__main__":
    if not 3 <= len(sys.argv) <= 5:
        sys.exit(__doc__)
    data, kit, *more = sys.argv[1:]
    model = Path(more[0]) if more else model_path("qwen2.5-coder-0.5b")
    for folder in pack(Path(data), Path(kit), model, more[1] if len(more) > 1 else "3.12"):
        print(folder, sum(file.stat().st_size for file in folder.iterdir()) // 1024, "KiB")
