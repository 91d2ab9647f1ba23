"""A reading on disk: `journal.jsonl`, append-only, one line a turn, each on the disk before the next call.

The first line says what the run is; it must be the same for the run to be resumed. Then comes a line a turn, with the
section it read, the completion it got, and the memory kept of it where that is another text. The last line, once all is
done, holds the citations. A line torn by a crash is dropped. One process at a time holds a run.

However long the reading, its turns stay on disk: in memory are only the places of the lines.
"""

from __future__ import annotations

import json
import os
from array import array
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, overload

from filelock import FileLock, Timeout

from memagent.core.budget import Budget
from memagent.core.prompts import NO_MEMORY, prompts_for
from memagent.core.records import Trace, Turn, Usage
from memagent.errors import RunError, StorageError
from memagent.readers.overwrite import answer, update
from memagent.readers.quotes import HALVES, choosing, closer, collecting
from memagent.runs.lines import (
    Header,
    Line,
    check_end,
    check_header,
    check_turn,
    completion_of,
    line_of,
    memory_of,
    segment_of,
    usage_of,
)

FILE = "journal.jsonl"
_LOCK = "lock"
_FIRST = b'{"memagent"'  # how every journal begins


class Run:
    """A run as it stands on disk, read without locking it: also while it is being written.

    Raises:
        RunError: there is no run in `folder`, or it is damaged.
    """

    def __init__(self, folder: Path) -> None:
        folder = folder.absolute()
        self.folder = folder
        self.path = folder / FILE
        self.header: Header = {}
        self.usage = Usage()
        self.end: dict[str, Any] | None = None
        """What was made of the finished reading (citations …)."""
        self._places = array("Q")  # where the line of each turn starts in the file
        self._size = 0  # of the file, without a torn last line
        self._last = (0, 0)  # where the last segment starts and ends, in characters
        try:
            self._scan()
        except OSError as error:
            raise RunError(f"There is no run at {folder}: {error.strerror or error}.") from error
        if not self.header:
            raise RunError(f"The run {folder} is empty: nothing was read yet.")

    def _scan(self) -> None:
        for number, line, last in _numbered(self.path):
            value: Any = None
            if line.endswith(b"\n"):
                with suppress(ValueError):
                    value = json.loads(line)
            if value is None and last:
                return
            try:
                if number == 1:
                    self.header = check_header(value)
                elif "turn" in value:
                    self._count(check_turn(value))
                else:
                    self.end = check_end(value["end"], len(self._places))
            except (KeyError, TypeError, ValueError):
                raise RunError(
                    f"Line {number} of {self.path} is damaged: restore it, or start a new run with another --run."
                ) from None
            self._size += len(line)

    def _count(self, line: Line) -> None:
        """A turn's line: its segment must follow on the one before, or be the same."""
        segment = segment_of(line)
        place = (segment.start, segment.end) if segment else self._last
        if line["turn"] != len(self._places) or (place != self._last and place[0] != self._last[1]):
            raise ValueError
        self.usage += usage_of(line)
        self._last = place
        self._places.append(self._size)

    @property
    def trace(self) -> Trace:
        """The reading as it stands now. Its turns are read from disk when they are looked at."""
        return Trace(self.header["question"], _Turns(self.path, self.header, self._places[:]))


class Journal(Run):
    """The run in `folder`, made or resumed, locked until `close()`.

    Args:
        header: what the run is. Resuming with another one is refused.
        fresh: begin anew whatever is there.
        fsync: wait for the disk after each turn. Without it a power cut may cost turns; a crash of the process not.

    Raises:
        RunError: another process holds the run, the header differs, or the file is damaged.
        StorageError: the folder cannot be written.
    """

    def __init__(self, folder: Path, header: Header, *, fresh: bool = False, fsync: bool = True) -> None:
        self._fsync = fsync
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
        self._write(header)
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

    def append(self, turn: Turn) -> None:
        """Put a finished turn on the disk.

        Raises:
            StorageError: it could not be written; the turns before it are safe.
        """
        place = self._size
        self._write(line_of(turn))
        self._places.append(place)
        self.usage += turn.completion.usage

    def amend(self, turn: Turn) -> None:
        """Write the last turn again: its memory was not known when it was written."""
        place = self._places.pop()
        assert turn.index == len(self._places)
        self._file.truncate(place)
        self._size = place
        usage = turn.completion.usage
        self.usage += Usage(-usage.prompt_tokens, -usage.completion_tokens, -usage.seconds)
        self.append(turn)

    def finish(self, end: dict[str, Any]) -> None:
        """Write the last line: what was made of the reading."""
        self._write({"end": end})
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
        try:
            written = 0
            while written < len(data):
                written += self._file.write(data[written:])
            if self._fsync:
                os.fsync(self._file.fileno())
        except OSError as error:
            raise StorageError(
                f"The journal in {self.folder} cannot be written ({error.strerror or error}): make room, then run "
                "the same command to go on."
            ) from error
        self._size += len(data)


class _Turns(Sequence[Turn]):
    """The turns of a journal, each read and rebuilt when it is asked for."""

    def __init__(self, path: Path, header: Header, places: Sequence[int]) -> None:
        self._path, self._header, self._places = path, header, places
        self._budget = Budget(**header["budget"])
        self._prompts = prompts_for(header["layout"], header["answer"])

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> Turn: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Turn]: ...
    def __getitem__(self, index: int | slice) -> Turn | Sequence[Turn]:
        if isinstance(index, slice):
            if index.start or index.step:
                return [self[place] for place in range(*index.indices(len(self)))]
            return _Turns(self._path, self._header, self._places[index])
        index = range(len(self))[index]
        before = memory_of(self._line(index - 1)) if index else NO_MEMORY
        line = self._line(index)
        segment, question = segment_of(line), self._header["question"]
        kind = line.get("kind", "memorize")
        if segment and kind == "choose":
            request = choosing(question, before, segment)
        elif segment and kind in HALVES:
            request = closer(question, before, segment, self._budget, self._prompts, kind)
        elif segment and self._header.get("memory") == "collected":
            request = collecting(question, before, segment, self._budget)
        elif segment:
            request = update(question, before, segment, self._budget, self._prompts)
        else:
            request = answer(question, before, self._budget, self._prompts)
        return Turn(index, request, completion_of(line), line.get("kept"))

    def _line(self, index: int) -> dict[str, Any]:
        with self._path.open("rb") as file:
            file.seek(self._places[index])
            line: dict[str, Any] = json.loads(file.readline())
        return line


def find_runs(folder: Path) -> list[Path]:
    """`folder` itself if it is a run, else the runs directly below it, in order.

    Raises:
        RunError: there is none.
    """
    if (folder / FILE).is_file():
        return [folder]
    runs = sorted(path.parent for path in folder.glob(f"*/{FILE}"))
    if not runs:
        raise RunError(f"There is no run at {folder}: give a folder that holds a {FILE}.")
    return runs


def _numbered(path: Path) -> Iterator[tuple[int, bytes, bool]]:
    """The lines of a file: number from 1, bytes, whether it is the last."""
    with path.open("rb") as file:
        number, line = 1, file.readline()
        while line:
            following = file.readline()
            yield number, line, not following
            number, line = number + 1, following


def _is_new(path: Path) -> bool:
    """Whether nothing was read yet: the file is empty, or a crash left a part of its first line."""
    with path.open("rb") as file:
        line = file.readline()
    return not line.endswith(b"\n") and (line.startswith(_FIRST) or _FIRST.startswith(line))


def _compare(folder: Path, now: Header, then: Header) -> None:
    now, then = {"memory": "abstractive", **now}, {"memory": "abstractive", **then}  # what says nothing of it has that
    for key in sorted(now.keys() | then.keys()):
        if key != "memagent" and now.get(key) != then.get(key):
            raise RunError(
                f"The run {folder} belongs to another reading: its {key} was {_short(then.get(key))}, now it is "
                f"{_short(now.get(key))}; give the same {key}, or another --run."
            )


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 160 else text[:159] + "…"
