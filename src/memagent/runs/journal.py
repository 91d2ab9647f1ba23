"""Write a run: append-only, with each turn on disk before the next call. One process at a time holds a run."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from memagent.core.records import Request, Segment, Turn
from memagent.errors import RunError, StorageError
from memagent.runs.journal_lines import FORMAT, Header, line_of, template_name
from memagent.runs.run import FILE, Run

_LOCK = "lock"
_FIRST = b'{"memagent"'  # every journal begins with this


class Journal(Run):
    """The run in `folder`, created or resumed, and locked until `close()`.

    Args:
        header: identity of the run. A run with a different header is not resumed.
        fresh: start over, whatever is in the folder.
        fsync: whether `sync` waits for the disk. Without it, a power cut may lose turns, but a crash of the process
            does not.

    Raises:
        RunError: another process holds the run, the header differs, or the file is damaged.
        StorageError: the folder cannot be written.
    """

    slowest_sync = 0.0
    """Seconds that the slowest `sync` of this process took."""

    def __init__(self, folder: Path, header: Header, *, fresh: bool = False, fsync: bool = True) -> None:
        self._fsync = fsync
        folder = folder.absolute()
        if folder.exists() and not folder.is_dir():
            raise RunError(f"{folder} is a file, not a run: give a folder.")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(folder / _LOCK, blocking=False, thread_local=False)  # closed by another thread
            self._lock.acquire()
        except Timeout:
            raise RunError(
                f"Another process is using the run {folder}: wait for it, or choose another --run."
            ) from None
        except OSError as error:
            raise StorageError(f"The run {folder} cannot be written: {error.strerror or error}.") from error
        with ExitStack() as undo:
            undo.callback(self._lock.release)
            try:
                # Unbuffered: closing the file must not write bytes that could not be written before.
                self._file = (folder / FILE).open("ab", buffering=0)
            except OSError as error:
                raise StorageError(f"The run {folder} cannot be written: {error.strerror or error}.") from error
            undo.callback(self._file.close)
            if fresh or _is_new(folder / FILE) or not self._resume(folder, header):
                self._begin_anew(folder, header)
            undo.pop_all()

    def _begin_anew(self, folder: Path, header: Header) -> None:
        self._file.truncate(0)
        self._size = 0
        self.folder, self.path = folder, folder / FILE
        self._write({"memagent": header["memagent"], "format": FORMAT, **header})
        super().__init__(folder)

    def _resume(self, folder: Path, header: Header) -> bool:
        """Resume the run in the folder. Returns False if it has no turns yet, so that another reading may begin."""
        super().__init__(folder)
        if not self._places:
            return False
        _compare(folder, json.loads(json.dumps(header)), self.header)
        if self._file.tell() > self._size:
            self._file.truncate(self._size)
        return True

    def append(self, turn: Turn, overflowed: Sequence[tuple[int, Request]] = (), taken: Sequence[Segment] = ()) -> None:
        """Write a finished turn. It is on disk after `sync`.

        Args:
            overflowed: requests that did not fit since the turn before, each with its place in the wave.
            taken: segments that the reading has taken since the turn before.

        Raises:
            StorageError: the turn could not be written; the turns before it are safe.
        """
        template = turn.request.template
        if template and (name := template_name(template)) not in self.templates:
            self._write({"template": name, "text": template})
            self.templates[name] = template
        place = self._size
        self._write(line_of(turn, self.header["question"], overflowed, taken))
        self._places.append(place)
        self.usage += turn.completion.usage

    def sync(self) -> None:
        """Wait until everything written is on disk. May be called in a thread, between two turns.

        Raises:
            StorageError: the journal could not be written.
        """
        if self._fsync:
            began = time.perf_counter()
            with self._told():
                os.fsync(self._file.fileno())
            Journal.slowest_sync = max(Journal.slowest_sync, time.perf_counter() - began)

    def amend(self, memory: str) -> None:
        """Write the last turn again with the memory after it, which was not known the first time."""
        place = self._places[-1]
        with self.path.open("rb") as file:
            file.seek(place)
            line = json.loads(file.readline())
        self._file.truncate(place)
        self._size = place
        self._write({**line, "memory": memory})

    def finish(self, end: dict[str, Any]) -> None:
        """Write the last line: the answer, its citations and the warnings."""
        self._write({"end": end})
        self.sync()
        self.end = end

    def close(self) -> None:
        """Release the run. If it has no turns, remove its files."""
        self._file.close()
        if not self._places:
            self.path.unlink(missing_ok=True)
        self._lock.release()
        if not self._places:
            (self.folder / _LOCK).unlink(missing_ok=True)
            with suppress(OSError):  # the folder holds other files
                self.folder.rmdir()

    def _write(self, value: dict[str, Any]) -> None:
        data = json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"
        with self._told():
            written = 0
            while written < len(data):
                written += self._file.write(data[written:])
        self._size += len(data)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageError(
                f"The journal in {self.folder} cannot be written ({error.strerror or error}): make room, then run "
                "the same command to resume."
            ) from error


def _is_new(path: Path) -> bool:
    """Return whether nothing was read yet: the file is empty, or a crash left only part of its first line."""
    with path.open("rb") as file:
        line = file.readline()
    return not line.endswith(b"\n") and (line.startswith(_FIRST) or _FIRST.startswith(line))


def _compare(folder: Path, now: Header, then: Header) -> None:
    for key in sorted((now.keys() | then.keys()) - {"memagent", "format"}):
        if now.get(key) != then.get(key):
            raise RunError(
                f"The run {folder} belongs to another reading: its {key} was {_short(then.get(key))}, now it is "
                f"{_short(now.get(key))}; give the same {key}, or another --run."
            )


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 160 else text[:159] + "…"
