"""The results of a benchmark on disk: `results.jsonl`, one line per example, append-only while the benchmark runs.

`run.json` holds the settings; other settings need another folder. Only one process writes at a time. At the end the
lines are sorted, with one line per example (a retry replaces the failure), and `results.json` is computed from them.
It does not depend on when, in which order or in how many runs the examples were read.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic import TypeAdapter

from memagent.bench.results import Cell, Result
from memagent.disk import replacing, write_whole
from memagent.errors import RunError, StorageError
from memagent.tasks.example import Length, Unit

RESULTS, SETTINGS, CELLS = "results.jsonl", "run.json", "results.json"
RUNS = "runs"
"""Name of the folder that holds the memory reader's journals."""
Key = tuple[str, Unit, int, int, str, str]  # task, unit, length, number, reader, model


def key_of(result: Result) -> Key:
    return result.task, result.unit, result.length, result.number, result.reader, result.model


class Ledger:
    """Opens or creates the results in `folder` and locks them until `close()`.

    Args:
        settings: settings that must be the same for all results in the folder.

    Raises:
        RunError: another process holds the folder, its settings differ, or a line is damaged.
        StorageError: the folder cannot be written.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.folder = folder
        self._path = folder / RESULTS
        self._lines: dict[Key, tuple[int, int, bool]] = {}  # offset of the line; attempts; whether to retry
        if folder.exists() and not folder.is_dir():
            raise RunError(f"{folder} is a file: give --out a folder.")
        with ExitStack() as undo:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                self._lock = FileLock(folder / "lock", blocking=False)
                self._lock.acquire()
                undo.callback(self._lock.release)
                self._check_settings(settings)
                self._file = self._path.open("ab", buffering=0)
                undo.callback(self._file.close)
                self._size = self._scan()
                self._file.truncate(self._size)
            except Timeout:
                raise RunError(f"Another process is writing to {folder}: wait for it, or give another --out.") from None
            except OSError as error:
                raise _storage(folder, error) from error
            undo.pop_all()

    def done(self, key: Key) -> bool:
        """Whether the example was read or did not fit the window. A failed example is not done."""
        return key in self._lines and not self._lines[key][2]

    def attempts(self, key: Key) -> int:
        return self._lines[key][1] if key in self._lines else 0

    def append(self, result: Result) -> None:
        """Write a result to disk.

        Raises:
            StorageError: the result could not be written; earlier results are safe.
        """
        line = json.dumps(asdict(result), ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
        try:
            written = 0
            while written < len(line):
                written += self._file.write(line[written:])
            os.fsync(self._file.fileno())
        except OSError as error:
            self._file.truncate(self._size)  # a torn line must not precede another worker's result
            raise _storage(self.folder, error) from error
        self._lines[key_of(result)] = self._size, result.attempts, result.status == "failed"
        self._size += len(line)

    def tidy(self) -> None:
        """Sort the lines and keep one per example."""
        try:
            with replacing(self._path) as temporary, self._path.open("rb") as old, temporary.open("wb") as new:
                for key in sorted(self._lines):
                    old.seek(self._lines[key][0])
                    new.write(old.readline())
                new.flush()
                os.fsync(new.fileno())
            self._file.close()
            self._file = self._path.open("ab", buffering=0)
        except OSError as error:
            raise _storage(self.folder, error) from error
        self._size = self._scan()

    def results(self) -> Iterator[Result]:
        return read_results(self.folder)

    def close(self) -> None:
        self._file.close()
        self._lock.release()

    def _check_settings(self, settings: dict[str, Any]) -> None:
        now = json.loads(json.dumps(settings))
        empty = not self._path.exists() or not self._path.stat().st_size
        if empty and not (self.folder / RUNS).exists():  # nothing was read under other settings
            _write(self.folder / SETTINGS, now)
            return
        then = read_settings(self.folder)
        data = {**then.get("data", {}), **now.get("data", {})}  # another task may add other data
        if all(data[name] == known for name, known in then.get("data", {}).items()):
            then["data"] = now["data"] = data
        for name in sorted(now.keys() | then.keys()):
            if name != "memagent" and now.get(name) != then.get(name):
                raise RunError(
                    f"{self.folder} holds results with other settings: its {name} was {json.dumps(then.get(name))} "
                    f"and is now {json.dumps(now.get(name))}. Give the same settings, or another --out."
                )
        _write(self.folder / SETTINGS, now)

    def _scan(self) -> int:
        """Record where each line starts. Returns the size of the file without a torn last line."""
        self._lines, place = {}, 0
        for line, result in _lines(self._path):
            self._lines[key_of(result)] = place, result.attempts, result.status == "failed"
            place += len(line)
        return place


def write_cells(folder: Path, cells: Iterable[Cell]) -> None:
    """Write `results.json`, and make the folder if necessary.

    Raises:
        StorageError: the file could not be written; an existing one is kept.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / CELLS, {"cells": [asdict(cell) for cell in cells]})
    except OSError as error:
        raise _storage(folder, error) from error


def _write(path: Path, value: dict[str, Any]) -> None:
    write_whole(path, json.dumps(value, indent=1) + "\n")


def read_settings(folder: Path) -> dict[str, Any]:
    """Return the settings of a run. Raises RunError if the folder has no results."""
    try:
        settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(
            f"There are no benchmark results in {folder}: give the --out of a benchmark ({error})."
        ) from error
    if not isinstance(settings, dict):
        raise RunError(f"{folder / SETTINGS} is damaged: give another folder.")
    return settings


def read_results(*folders: Path, names: Mapping[Path, str] | None = None) -> Iterator[Result]:
    """Yield the results in folders one at a time, in file order. Only the last try of an example counts.

    Args:
        names: for some folders, a name that replaces the name of the model.

    Raises:
        RunError: a folder has no results, a line is damaged, or two folders have the same example, reader and model.
    """
    having: dict[Key, Path] = {}
    for folder in folders:
        path = folder / RESULTS
        if not path.is_file():
            raise RunError(f"There are no benchmark results in {folder}: give the --out of a benchmark.")
        name = (names or {}).get(folder)
        last = {key_of(result): number for number, result in enumerate(_called(name, path))}
        for key in last:
            if key in having:
                raise RunError(
                    f"{having[key]} and {folder} both have {_named(key)}: give one of them, or NAME=FOLDER for each."
                )
        having |= dict.fromkeys(last, folder)
        for number, result in enumerate(_called(name, path)):
            if last.get(key_of(result)) == number:
                yield result


def _called(name: str | None, path: Path) -> Iterator[Result]:
    for _, result in _lines(path):
        yield replace(result, model=name) if name else result


def _named(key: Key) -> str:
    task, unit, length, number, reader, model = key
    return f"example {number} of {task} at {Length(length, unit)} by {reader} with {model}"


def _lines(path: Path) -> Iterator[tuple[bytes, Result]]:
    """Yield the lines of the file, skipping an unfinished last line."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            try:
                yield line, _result(json.loads(line))
            except (ValueError, AttributeError):
                raise RunError(
                    f"Line {number} of {path} is damaged: delete it and run the same command again."
                ) from None


_RESULT = TypeAdapter(Result)


def _result(value: dict[str, Any]) -> Result:
    """Return the value as a Result. Raises ValueError if it is not one."""
    shown = {key: _shown(each) if isinstance(each, str) else each for key, each in value.items()}
    return _RESULT.validate_python(shown)


def _shown(text: str) -> str:
    """Replace lone surrogates, which a model may write."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _storage(folder: Path, error: OSError) -> StorageError:
    closed = error.errno in (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.EEXIST)
    what = "give --out a folder that can be written" if closed else "make room, then run the same command to resume"
    return StorageError(f"The results in {folder} cannot be written ({error.strerror or error}): {what}.")
