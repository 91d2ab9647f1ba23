"""Read a run on disk: `journal.jsonl`, with one line per turn.

The first line identifies the run; to resume the run, it must be the same. Then comes one line per turn, with the
request, the completion, and the memory after it. A template has its own line before the first turn that uses it. The
last line of a finished run holds the answer and its citations. A line torn by a crash is dropped.

However long the reading, its turns stay on disk; only the places of their lines are kept in memory.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, overload

from memagent.core.records import Trace, Turn, Usage
from memagent.errors import RunError
from memagent.runs.journal_lines import (
    FORMAT,
    Header,
    Line,
    Span,
    check_end,
    check_header,
    check_template,
    check_turn,
    spans_of,
    turn_of,
    usage_of,
)

FILE = "journal.jsonl"
_BUFFER = 1 << 17  # bytes


class Run:
    """A run on disk. It is read without a lock, even while it is being written.

    Raises:
        RunError: there is no run in `folder`, or it is damaged, or another version wrote it in a different format.
    """

    def __init__(self, folder: Path) -> None:
        folder = folder.absolute()
        self.folder = folder
        self.path = folder / FILE
        self.header: Header = {}
        self.usage = Usage()
        self.end: dict[str, Any] | None = None
        """Answer, citations and warnings of a finished run; None before."""
        self.spans: list[Span] = []
        """Spans of the segments that the reading took, in the order of the lines."""
        self.overflowed: dict[int, list[int]] = {}
        """For each turn, the places in the wave of the requests that did not fit before it."""
        self.templates: dict[str, str] = {}
        self._places = array("Q")  # where each turn's line starts in the file
        self._size = 0  # bytes of the file, without a torn last line
        try:
            self._scan()
        except OSError as error:
            raise RunError(f"There is no run at {folder}: {error.strerror or error}.") from error
        if not self.header:
            raise RunError(f"The run {folder} is empty: nothing has been read yet.")

    @property
    def trace(self) -> Trace:
        """The reading so far. Its turns are read from disk when they are looked at."""
        turns = _Turns(self.path, self.header["question"], self.templates, self._places[:])
        return Trace(self.header["question"], turns, self.usage)

    def _scan(self) -> None:
        for number, line, last in _numbered(self.path):
            value: Any = None
            if line.endswith(b"\n"):
                with suppress(ValueError):
                    value = json.loads(line)
            if value is None and last:
                return
            if number == 1 and isinstance(value, dict) and value.get("format", 1) != FORMAT:
                version = value.get("memagent", "?")
                raise RunError(
                    f"The run {self.folder} was made by memagent {version}, whose journals have a different format: "
                    "use that version, or give another --run."
                )
            try:
                self._take(number, value)
            except (KeyError, TypeError, ValueError):
                raise RunError(
                    f"Line {number} of {self.path} is damaged: restore it, or start a new run with another --run."
                ) from None
            self._size += len(line)

    def _take(self, number: int, value: Any) -> None:
        if number == 1:
            self.header = check_header(value)
        elif "turn" in value:
            self._count(check_turn(value, self.templates))
        elif "template" in value:
            self.templates.update([check_template(value)])
        else:
            self.end = check_end(value["end"], len(self._places))

    def _count(self, line: Line) -> None:
        if line["turn"] != len(self._places):
            raise ValueError("A turn is missing.")
        self.usage += usage_of(line)
        self.spans += spans_of(line)
        if "overflowed" in line:
            self.overflowed[line["turn"]] = [place for place, *_ in line["overflowed"]]
        self._places.append(self._size)


class _Turns(Sequence[Turn]):
    """The turns of a run. Each turn is read and rebuilt when it is asked for.

    Iterating opens the file once, with a large buffer: readings end in threads, where each small read lets another
    thread run first.
    """

    def __init__(self, path: Path, question: str, templates: dict[str, str], places: Sequence[int]) -> None:
        self._path, self._question, self._templates, self._places = path, question, templates, places

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
            return _Turns(self._path, self._question, self._templates, self._places[index])
        index = range(len(self))[index]
        with self._path.open("rb") as file:
            return self._read(file, index)

    def __iter__(self) -> Iterator[Turn]:
        with self._path.open("rb", buffering=_BUFFER) as file:
            for index in range(len(self)):
                yield self._read(file, index)

    def _read(self, file: BinaryIO, index: int) -> Turn:
        file.seek(self._places[index])
        line = json.loads(file.readline())
        try:
            return turn_of(line, self._question, self._templates)
        except ValueError as error:
            raise RunError(f"Turn {index + 1} of {self._path} is damaged ({error}): start a new run.") from error


def find_runs(folder: Path) -> list[Path]:
    """Return `folder` itself if it is a run, else the runs directly below it, in order.

    Raises:
        RunError: there is no run.
    """
    if (folder / FILE).is_file():
        return [folder]
    runs = sorted(path.parent for path in folder.glob(f"*/{FILE}"))
    if not runs:
        raise RunError(f"There is no run at {folder}: give a folder that holds a {FILE}.")
    return runs


def _numbered(path: Path) -> Iterator[tuple[int, bytes, bool]]:
    """Yield the lines of a file: number from 1, bytes, and whether the line is the last."""
    with path.open("rb") as file:
        number, line = 1, file.readline()
        while line:
            following = file.readline()
            yield number, line, not following
            number, line = number + 1, following
