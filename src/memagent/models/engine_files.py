"""Convert a GGUF file and a LoRA adapter to a form that the engine reads, and keep the result in the user's cache.

    llama   becomes a GGUF file in float16
    qwen2   becomes an OpenVINO folder with 8-bit weights, which needs half the memory and loads in 3 seconds instead
            of 34 (LOG.md)

A list beside each result has the sizes, times and hashes of its files. If a file is damaged, the result is made again.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

from filelock import FileLock

from memagent.errors import ModelError, StorageError
from memagent.models.adapters import CONFIG, WEIGHTS
from memagent.models.merging import merge

_FORMAT = b"2"
"""Version of the conversion. Change it whenever the same files would give a different result."""


def engine_file(name: str, kind: str, base: Path, adapter: Path | None, cache: Path, sha256: str | None = None) -> Path:
    """Return the engine's file or folder for the model `base` with the adapter. Making it takes up to two minutes.

    Args:
        name: the beginning of the result's file name.
        kind: the model's architecture, as the GGUF file names it.
        cache: the folder for the result.
        sha256: the hash of `base`, if known.

    Raises:
        ModelError: the adapter does not fit the model, or is damaged.
        StorageError: the cache cannot be written.
    """
    stamp = _FORMAT + (bytes.fromhex(sha256) if sha256 else hashlib.sha256(base.read_bytes()).digest())
    if adapter:
        files = (adapter / CONFIG, adapter / WEIGHTS)
        stamp += b"".join(file.read_bytes() for file in files if file.is_file())
    out = cache / f"{name}-{hashlib.sha256(stamp).hexdigest()[:16]}{'.gguf' if kind == 'llama' else ''}"
    if _is_whole(out):
        return out
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(out.with_name(f".{out.name}.lock")):
            if not _is_whole(out):
                temporary = cache / f".{out.name}.{uuid4().hex}"
                try:
                    _make(kind, base, adapter, temporary)
                    _remove(out)
                    temporary.rename(out)
                    _seal(out)
                finally:
                    _remove(temporary)
    except OSError as error:
        raise StorageError(f"{out} cannot be written ({error.strerror or error}): make room.") from error
    return out


def _make(kind: str, base: Path, adapter: Path | None, out: Path) -> None:
    if kind == "llama":
        merge(base, adapter, out)
        return
    out.mkdir()
    gguf = out / "model.gguf"
    merge(base, adapter, gguf, eight_bits=True)
    import openvino_genai

    try:
        openvino_genai.LLMPipeline(str(gguf), "CPU", enable_save_ov_model=True)
    except RuntimeError as error:
        raise ModelError(f"The engine cannot read {base}: {str(error).strip().splitlines()[-1]}") from error
    gguf.unlink()
    if not (out / "openvino_model.xml").is_file():
        raise StorageError(f"The engine could not write to {out.parent}: make room.")


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _files(path: Path) -> Iterator[Path]:
    return iter(sorted(path.iterdir())) if path.is_dir() else iter((path,))


def _seal(path: Path) -> None:
    """Write a list of the files at `path` beside it, with their sizes, times and hashes."""
    seal = {}
    for file in _files(path):
        stat = file.stat()
        with file.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
        seal[file.name] = {"sha256": digest, "size": stat.st_size, "mtime_ns": stat.st_mtime_ns}
    _seal_of(path).write_text(json.dumps(seal), encoding="utf-8")


def _is_whole(path: Path) -> bool:
    """Return whether `path` is unchanged since it was made. Compares hashes only if a size or time differs."""
    try:
        seal = json.loads(_seal_of(path).read_text(encoding="utf-8"))
        if seal.keys() != {file.name for file in _files(path)}:
            return False
        return all(_is_same(file, seal[file.name]) for file in _files(path))
    except (OSError, ValueError, KeyError, AttributeError):
        return False


def _is_same(file: Path, noted: dict[str, object]) -> bool:
    stat = file.stat()
    if (stat.st_size, stat.st_mtime_ns) == (noted["size"], noted["mtime_ns"]):
        return True
    with file.open("rb") as opened:
        return bool(hashlib.file_digest(opened, "sha256").hexdigest() == noted["sha256"])


def _seal_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")
