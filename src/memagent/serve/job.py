"""One reading that is queued or in progress: how far it has come, and how many clients wait for it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from memagent.core.records import Turn
from memagent.errors import MemagentError
from memagent.evidence.timeline import Change, changed
from memagent.runs.watch import Watch
from memagent.serve.shelf import State, StoredReading

_REMEMBERED = 200  # steps; a watcher that falls further behind misses some


@dataclass(slots=True)
class Progress:
    """How far a reading has come."""

    characters: int = 0
    """Number of characters in the documents; 0 until they are open."""
    read: int = 0
    """Number of characters in the segments read so far."""
    segments: int = 0
    """Number of segments read so far."""
    turns: int = 0
    memory: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def figures(self) -> dict[str, int]:
        """Everything but the memory."""
        return {name: value for name, value in asdict(self).items() if name != "memory"}


@dataclass(frozen=True, slots=True)
class Step:
    """A turn's change to the memory."""

    change: Change
    segment: int | None
    """Number of the segment that the turn read, counted from 0; None if it read no segment."""
    memory: str
    """Memory after the turn."""


@dataclass(eq=False)
class Job:
    """A reading that is queued or in progress. Only the service changes it."""

    stored: StoredReading
    waiting: int = 0
    """Number of clients that are waiting for the answer."""
    task: asyncio.Task[None] | None = None
    stopping: bool = False
    """Whether the job has been cancelled. A new job then begins when this one has ended."""
    giving_up: asyncio.TimerHandle | None = None
    """Timer that cancels the job because its last client has left."""
    left: bool = False
    """Whether the service is shutting down before the reading has ended."""
    error: MemagentError | None = None
    """Error that ended the reading without an answer."""
    progress: Progress = field(default_factory=Progress)
    steps: deque[Step] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    """The latest steps."""
    segments: dict[tuple[int, int], int] = field(default_factory=dict)
    """Number of each segment that this process has read, counted from 0, by the segment's place in the document."""
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def active(self) -> bool:
        return self.stored.state in ("queued", "reading")

    def become(self, state: State, **changes: Any) -> None:
        self.stored = replace(self.stored, state=state, **changes)
        self._tell()

    async def news(self) -> AsyncIterator[None]:
        """Yield at once, and then after every change, until the reading or the service ends."""
        while True:
            news = self._news
            yield
            if self.left or not self.active:
                return
            await news.wait()

    def leave(self) -> None:
        """Release all waiting clients, because the service is shutting down."""
        self.left = True
        self._tell()

    async def end(self) -> None:
        """Wait until the reading or the service ends."""
        async for _ in self.news():
            pass

    @property
    def watch(self) -> Watch:
        """Callbacks that keep `progress` and `steps` up to date."""
        return Watch(on_start=self._on_start, on_turn=self._on_turn)

    def _on_start(self, characters: int, turns: int, read: int) -> None:
        self.progress.characters, self.progress.turns, self.progress.read = characters, turns, read
        self._tell()

    def _on_turn(self, _: int, turn: Turn) -> None:
        progress, segment = self.progress, turn.request.segment
        if segment and segment.origin not in self.segments:
            self.segments[segment.origin] = progress.segments
            progress.segments += 1
            start, end = segment.origin
            progress.read = min(progress.read + end - start, progress.characters)
        progress.turns = turn.index + 1
        progress.prompt_tokens += turn.completion.usage.prompt_tokens
        progress.completion_tokens += turn.completion.usage.completion_tokens
        if turn.request.kind != "answer":
            number = self.segments[segment.origin] if segment else None
            self.steps.append(Step(changed(progress.memory, turn), number, turn.memory))
        progress.memory = turn.memory
        self._tell()

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()
