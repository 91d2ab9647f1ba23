"""One question being asked of a document: its reading under way, and its turns, which are kept as they finish."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator

from memagent.core.reading import Reading, Underway
from memagent.core.records import Completion, Request, Segment, Trace, Turn, Usage
from memagent.errors import RunError, WindowOverflow
from memagent.runs.journal import Journal

_QUICK = 0.005
"""Seconds. While the disk always syncs faster, no thread is used, because handing the sync to one takes as long."""

_OTHERWISE = (
    "This run was started by a version that reads differently, or its document has changed since: give another --run, "
    "or --fresh."
)


class Pieces(Iterator[Segment]):
    """The segments of a document for one reading, with a record of the segments that the reading has taken."""

    def __init__(self, segments: Iterable[Segment]) -> None:
        self._segments = iter(segments)
        self._taken: list[Segment] = []

    def __next__(self) -> Segment:
        self._taken.append(next(self._segments))
        return self._taken[-1]

    def taken(self) -> list[Segment]:
        """Return the segments taken since the last call."""
        taken, self._taken = self._taken, []
        return taken


class Asking(Underway):
    """One question's reading. With a journal, turns are replayed from it first and kept in it; else kept in memory.

    Args:
        pieces: the segments that the reading takes.

    Raises:
        RunError: the journal's turns do not match the reading's requests; another version of this program may have
            written them.
    """

    def __init__(self, question: str, reading: Reading, pieces: Pieces, journal: Journal | None) -> None:
        super().__init__(reading)
        self.question = question
        self.journal = journal
        self._kept: list[Turn] = []
        self._overflowed: list[tuple[int, Request]] = []
        self._pieces = pieces
        self._read: set[tuple[int, int]] = set()  # spans of the segments that finished turns show
        if journal:
            self._replay(journal)

    @property
    def trace(self) -> Trace:
        return self.journal.trace if self.journal else Trace(self.question, self._kept)

    @property
    def usage(self) -> Usage:
        return self.journal.usage if self.journal else self.trace.usage

    @property
    def place(self) -> float:
        """Place in the document that is read next; infinity if no request shows a segment."""
        return min((each.segment.start for each in self.wanted.values() if each.segment), default=float("inf"))

    @property
    def characters(self) -> int:
        """Number of characters in the segments that were read."""
        return sum(end - start for start, end in self._read)

    def take(self, completion: Completion, place: int = 0) -> Turn:
        if segment := self.wanted[place].segment:
            self._read.add(segment.origin)
        return super().take(completion, place)

    def finish_turn(self, completion: Completion, place: int = 0) -> Turn:
        """Take a completion and keep its turn before another one is paid for, even if the reading then fails."""
        turn = Turn(self.turns, self.wanted[place], completion, self.memory, self.waves - 1, place)
        taken = self._pieces.taken()
        try:
            turn = self.take(completion, place)
        finally:
            if self.journal:
                self.journal.append(turn, self._overflowed, taken)
            else:
                self._kept.append(turn)
            self._overflowed = []
        return turn

    async def settle(self) -> None:
        """Wait until the finished turns are on disk. If the disk is slow, the event loop keeps running meanwhile."""
        if self.journal and self.journal.slowest_sync > _QUICK:
            await asyncio.to_thread(self.journal.sync)
        elif self.journal:
            self.journal.sync()

    def overflow(self, error: WindowOverflow, place: int = 0) -> None:
        self._overflowed.append((place, self.wanted[place]))
        super().overflow(error, place)

    def _replay(self, journal: Journal) -> None:
        turns = journal.trace.turns
        for turn in turns:
            for place in journal.overflowed.get(turn.index, ()):
                if place in self.wanted:
                    self.overflow(WindowOverflow(), place)
            self._pieces.taken()
            if self.wanted.get(turn.place) != turn.request:
                raise RunError(_OTHERWISE)
            taken = self.take(turn.completion, turn.place)
            if taken.memory != turn.memory:
                if turn.index < len(turns) - 1:
                    raise RunError(_OTHERWISE)
                journal.amend(taken.memory)  # the reading failed before the memory after its last turn was known
        self._overflowed = []
