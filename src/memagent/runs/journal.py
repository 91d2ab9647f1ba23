"""Writing a run: append-only, each turn on the disk before the next call. One process at a time holds a run."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from memagent.core.records import Request, Turn
from memagent.errors import RunError, StorageError
from memagent.runs.journal_lines import FORMAT, Header, line_of, template_name
from memagent.runs.run import FILE, Run

_LOCK = "lock"
_FIRST = b'{"memagent"'  # how every journal begins


class Journal(Run):
    """The run in `folder`, made or resumed, locked until `close()`.

    Args:
        header: what the run is. Resuming with another one is refused.
        fresh: begin anew whatever is there.
        fsync: whether `sync` waits for the disk. Without it a power cut may cost turns; a crash of the process not.

    Raises:
        RunError: another process holds the run, the header differs, or the file is damaged.
        StorageError: the folder cannot be written.
    """

    def __init__(self, folder: Path, header: Header, *, fresh: bool = False, fsync: bool = True) -> None:
        self._fsync = fsync
        self.sync_seconds = 0.0
        """What the last `sync` took."""
        folder = folder.absolute()
        if folder.exists() and not folder.is_dir():
            raise RunError(f"{folder} is a file, not a run: give a folder.")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(folder / _LOCK, blocking=False)
            self._lock.acquire()
        except Timeout:
            raise RunError(f"Another process holds the run {folder}: wait for it, or choose another --run.") from None
        except OSError as error:
            raise StorageError(f"The run {folder} cannot be written: {error.strerror or error}.") from error
        with ExitStack() as undo:
            undo.callback(self._lock.release)
            try:
                # Unbuffered: what could not be written must not come back when the file is closed.
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
        """Take up what is there; False where no turn was paid for yet, so that another reading may begin."""
        super().__init__(folder)
        if not self._places:
            return False
        _compare(folder, json.loads(json.dumps(header)), self.header)
        if self._file.tell() > self._size:
            self._file.truncate(self._size)
        return True

    def append(self, turn: Turn, overflowed: Sequence[tuple[int, Request]] = (), wave: Sequence[Request] = ()) -> None:
        """Write a finished turn. It is on the disk after `sync`.

        Args:
            overflowed: what did not fit since the turn before, with its place in the wave.
            wave: what may be completed at the same time as the turn's request, that one too.

        Raises:
            StorageError: it could not be written; the turns before it are safe.
        """
        template = turn.request.template
        if template and (name := template_name(template)) not in self.templates:
            self._write({"template": name, "text": template})
            self.templates[name] = template
        place = self._size
        self._write(line_of(turn, self.header["question"], overflowed, wave))
        self._places.append(place)
        self.usage += turn.completion.usage

    def sync(self) -> None:
        """Wait until what was written is on the disk. May be called in a thread, between two turns.

        Raises:
            StorageError: it could not be written.
        """
        if self._fsync:
            began = time.perf_counter()
            with self._told():
                os.fsync(self._file.fileno())
            self.sync_seconds = time.perf_counter() - began

    def amend(self, memory: str) -> None:
        """Write the last turn again with the memory after it, which was not known when it was written."""
        place = self._places[-1]
        with self.path.open("rb") as file:
            file.seek(place)
            line = json.loads(file.readline())
        self._file.truncate(place)
        self._size = place
        self._write({**line, "memory": memory})

    def finish(self, end: dict[str, Any]) -> None:
        """Write the last line: what was made of the reading."""
        self._write({"end": end})
        self.sync()
        self.end = end

    def close(self) -> None:
        """Let go of the run. One in which nothing was paid for leaves nothing behind."""
        self._file.close()
        if not self._places:
            self.path.unlink(missing_ok=True)
        self._lock.release()
        if not self._places:
            (self.folder / _LOCK).unlink(missing_ok=True)
            with suppress(OSError):  # it holds something else
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
                "the same command to go on."
            ) from error


def _is_new(path: Path) -> bool:
    """Whether nothing was read yet: the file is empty, or a crash left a part of its first line."""
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
