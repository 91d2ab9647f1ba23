"""Pack everything that a machine without a network needs to train the reader (data, wheels, weights) into folders.

    python training/kit/pack.py DATA KIT [MODEL [PYTHON]]

DATA is the output of `prepare.py`, MODEL a GGUF file (by default qwen2.5-coder-0.5b of the catalogue). KIT gets the
folders 00, 01, … of at most 60 MiB each: send them one after another, see training/README.md. The first one holds
everything that lessons need, so that they can be made while the weights are still on their way. PYTHON is the Python
version of the machine that trains, by default 3.12.
"""

from __future__ import annotations

import gzip
import lzma
import math
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFReader

from memagent.models.catalogue import model_path
from memagent.train.loading import dequantised

MOST = 60 << 20
"""Most bytes in a folder."""
_PIECE = 4 << 20  # rough size of a piece of the weights in bytes; small pieces fill the folders evenly
WHEELS = (
    "annotated-types", "gguf", "httpcore2", "httpx2", "platformdirs", "pydantic", "pydantic_core", "rapidfuzz",
    "sniffio", "truststore", "typing-inspection", "webencodings", "wonderwords",
)  # fmt: skip
"""Packages that memagent needs there besides torch, transformers, peft and accelerate, which are installed already."""

Piece = tuple[str, np.ndarray[Any, Any]]
"""Rows of a tensor as stored in the GGUF file, under the key "name first-row rows-in-all type"."""


def pack(data: Path, kit: Path, model: Path, python: str) -> list[Path]:
    """Write the folders. Returns them in the order in which to send them."""
    shutil.rmtree(kit, ignore_errors=True)
    first = kit / "00"
    first.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as temporary, tarfile.open(first / "small.tar.xz", "w:xz") as archive:
        archive.add(_smaller(data / "train", Path(temporary) / "data"), "data")
        for name in ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"):
            archive.add(dequantised(model) / name, f"model/{name}")
        if (template := dequantised(model) / "chat_template.jinja").is_file():
            archive.add(template, f"model/{template.name}")
        archive.add(_wheels(Path(temporary) / "wheels", python), "wheels")
    taken = (first / "small.tar.xz").stat().st_size
    if taken > MOST:
        sys.exit(f"The data and the wheels take {taken >> 20} MiB, more than the {MOST >> 20} MiB of a folder.")
    for number, pieces in enumerate(_shared_out(sorted(_pieces(model), key=lambda piece: -piece[1].nbytes), taken)):
        folder = kit / f"{number:02}"
        folder.mkdir(exist_ok=True)
        np.savez(folder / f"weights.{number:02}.npz", **dict[str, Any](pieces))
    folders = sorted(kit.iterdir())
    (first / "folders").write_text(str(len(folders)), encoding="utf-8")
    return folders


def _smaller(data: Path, out: Path) -> Path:
    """Copy the data. Files compressed with gzip are recompressed with xz, which makes them a third smaller."""
    for file in sorted(data.rglob("*")):
        target = out / file.relative_to(data)
        if file.is_dir():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if file.name.endswith(".jsonl.gz"):
            target.with_suffix(".xz").write_bytes(lzma.compress(gzip.decompress(file.read_bytes())))
        else:
            shutil.copyfile(file, target)
    return out


def _pieces(model: Path) -> Iterator[Piece]:
    for tensor in GGUFReader(model).tensors:
        rows = len(tensor.data)
        step = math.ceil(rows / math.ceil(tensor.data.nbytes / _PIECE))
        for start in range(0, rows, step):
            yield f"{tensor.name} {start} {rows} {int(tensor.tensor_type)}", tensor.data[start : start + step]


def _shared_out(pieces: list[Piece], taken: int) -> list[list[Piece]]:
    """Put each piece into the emptiest folder, with as few folders as possible."""
    total = taken + sum(array.nbytes for _, array in pieces)
    many = math.ceil(total / MOST)
    while True:
        folders: list[list[Piece]] = [[] for _ in range(many)]
        sizes = [taken] + [0] * (many - 1)
        for piece in pieces:
            emptiest = sizes.index(min(sizes))
            folders[emptiest].append(piece)
            sizes[emptiest] += piece[1].nbytes + 512  # and its header in the file
        if max(sizes) <= MOST:
            return folders
        many += 1


def _wheels(folder: Path, python: str) -> Path:
    """Download the wheels, in the versions that constraints.txt pins."""
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
