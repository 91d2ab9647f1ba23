"""Questions being asked of one document: each a reading under way, advanced in step, begun anew or from a journal.

In step, because an engine with a prefix cache then meets the same segment in all prompts at the same time: in each
round, those readings that are furthest behind in the document take a turn.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from memagent.core.budget import Budget
from memagent.core.limits import Limits
from memagent.core.prompts import Prompts
from memagent.core.records import Completion, Segment, Trace, Turn, Usage
from memagent.core.segments import Cut, segments
from memagent.core.tokenizer import Tokenizer, count
from memagent.documents import Document
from memagent.errors import RunError, WindowOverflow
from memagent.models.chat import Chat
from memagent.readers.overwrite import Reading, Step, Underway, reading
from memagent.runs.journal import Journal

_LOG = logging.getLogger(__name__)

SILENCE = 60.0
"""Seconds without a word from the model before that is said."""

_SKIPPED = 2
"""Looks at a section that may have been too long in a row: another at all of it, and one at its first half."""


@dataclass(frozen=True, slots=True)
class Watch:
    """Callbacks while reading. The number of a question counts from 0."""

    on_start: Callable[[int, int, int], None] = lambda characters, turns, read: None
    """Characters in the document; turns that journals already hold, and characters read in them."""
    on_text: Callable[[int, str], None] | None = None
    """The completion in progress, as far as it has been written."""
    on_turn: Callable[[int, Turn], None] = lambda question, turn: None
    on_silence: Callable[[int, float], None] = lambda question, seconds: None
    """The model has written nothing for so many seconds."""


def harmless(watch: Watch) -> Watch:
    """The same Watch, except that an error in a callback is logged and does not stop what is paid for."""

    def guarded(callback: Callable[..., None]) -> Callable[..., None]:
        def call(*given: Any) -> None:
            try:
                callback(*given)
            except Exception:  # noqa: BLE001 (it is the code of whoever calls us)
                _LOG.exception("A callback of a Watch failed; the reading goes on.")

        return call

    return Watch(
        guarded(watch.on_start),
        guarded(watch.on_text) if watch.on_text else None,
        guarded(watch.on_turn),
        guarded(watch.on_silence),
    )


class Asking(Underway):
    """One question's reading under way. With a journal its turns are kept there, else here."""

    def __init__(self, question: str, steps: Reading, journal: Journal | None) -> None:
        super().__init__(steps)
        self.question = question
        self.journal = journal
        self._kept: list[Turn] = []
        if journal:
            for turn in journal.trace.turns:  # up to the first request that has no completion yet
                taken = self._replay(turn)
                if taken.memory != turn.memory:
                    journal.amend(taken)

    @property
    def trace(self) -> Trace:
        return self.journal.trace if self.journal else Trace(self.question, self._kept)

    @property
    def usage(self) -> Usage:
        return self.journal.usage if self.journal else self.trace.usage

    @property
    def place(self) -> float:
        """Where in the document it will read next; the answer comes after everything."""
        segment = self.request.segment if self.request else None
        return segment.start if segment else float("inf")

    def finish_turn(self, completion: Completion) -> Turn:
        """Go on to the next request, and keep the turn before any is paid for, also where there is no going on."""
        assert self.request is not None
        turn = Turn(self.turns, self.request, completion)
        try:
            turn = self.take(completion)
        finally:
            if self.journal:
                self.journal.append(turn)
            else:
                self._kept.append(turn)
        return turn

    def _replay(self, turn: Turn) -> Turn:
        """Take a turn of the journal. Returns it with the memory that the loop makes of it.

        That may differ in the last turn, if the reading failed just after it, before its memory was known.

        Raises:
            RunError: it is not what is asked here: another version of this program read otherwise.
        """
        with suppress(WindowOverflow):
            for _ in range(_SKIPPED):
                if not self._waits_for(turn):
                    self.overflow(WindowOverflow())
        if not self._waits_for(turn):
            raise RunError("The run was begun by a version that reads otherwise: give another --run, or --fresh.")
        return self.take(turn.completion)

    def _waits_for(self, turn: Turn) -> bool:
        return (
            self.request is not None
            and self.request.segment == turn.request.segment
            and self.request.kind == turn.request.kind
        )


def begin(
    questions: Sequence[str],
    document: Document,
    journals: Sequence[Journal | None],
    tokenizer: Tokenizer,
    budget: Budget,
    prompts: Prompts,
    cut: Cut,
    step: Step,
) -> list[Asking]:
    """All questions, each at the first turn that its journal does not hold. They share one cutting of the document.

    Where there are journals, the document is cut as in the one that is furthest ahead, and anew from its end.
    """
    read = [journal.trace.memories if journal else () for journal in journals]
    ends = max((_ends(memories) for memories in read), key=lambda each: each[-1] if each else 0)
    last = ends[-1] if ends else 0
    fresh = segments(_Cursor(document).after(last), budget.segment, tokenizer, cut, last)
    asked = []
    for question, journal, own, shared in zip(
        questions, journals, read, itertools.tee(fresh, len(questions)), strict=True
    ):
        pieces = itertools.chain(_segments(own), _catch_up(document, own, ends, tokenizer), shared)
        asked.append(Asking(question, reading(question, pieces, budget, prompts, step), journal))
    return asked


async def drive(asked: Sequence[Asking], chat: Chat, limits: Limits, watch: Watch) -> None:
    """Turns, until every question has its answer. A failed turn stops all, after the others' were kept."""
    while waiting := [each for each in asked if each.request is not None]:
        place = min(each.place for each in waiting)
        behind = [each for each in waiting if each.place == place]
        if limits.any:
            limits.check(sum((each.usage for each in asked), Usage()), _coming(behind, chat))
        turns = [_turn(asked.index(each), each, chat, watch) for each in behind]
        for result in await asyncio.gather(*turns, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result


async def _turn(number: int, asking: Asking, chat: Chat, watch: Watch) -> None:
    assert asking.request is not None
    listening = _Listening(number, watch)
    try:
        completion = await chat.complete(asking.request, listening.on_text if watch.on_text else None)
    except WindowOverflow as error:
        asking.overflow(error)
    else:
        watch.on_turn(number, asking.finish_turn(completion))
    finally:
        listening.end()


class _Listening:
    """Says when a model has been silent for long, and again each time that the silence has doubled."""

    def __init__(self, number: int, watch: Watch) -> None:
        self._number, self._watch = number, watch
        self._heard = time.monotonic()
        self._task = asyncio.create_task(self._listen())

    def on_text(self, text: str) -> None:
        self._heard = time.monotonic()
        if self._watch.on_text:
            self._watch.on_text(self._number, text)

    def end(self) -> None:
        self._task.cancel()

    async def _listen(self) -> None:
        patience, heard = SILENCE, self._heard
        while True:
            await asyncio.sleep(max(heard + patience - time.monotonic(), 0.01))
            if heard != self._heard:
                patience, heard = SILENCE, self._heard
            elif time.monotonic() >= heard + patience:
                self._watch.on_silence(self._number, patience)
                patience *= 2


def _coming(asked: Iterable[Asking], chat: Chat) -> Usage:
    """The most that the next turns can take."""
    requests = [each.request for each in asked if each.request]
    return Usage(
        sum(chat.prompt_tokens(request.messages) for request in requests),
        sum(request.max_tokens for request in requests),
    )


# -- where a resumed reading goes on ------------------------------------------------------------------------------


def _segments(memories: Iterable[Turn]) -> Iterator[Segment]:
    """Those of the turns, each once: a step may have looked at one again."""
    last = None
    for turn in memories:
        if turn.request.segment and turn.request.segment != last:
            last = turn.request.segment
            yield last


def _ends(memories: Iterable[Turn]) -> list[int]:
    """Where the segments of a journal end, those that were halved counted as one."""
    ends: list[int] = []
    for segment in _segments(memories):
        end = segment.rest[-1] if segment.rest else segment.end
        if not ends or end != ends[-1]:
            ends.append(end)
    return ends


def _catch_up(
    document: Document, memories: Sequence[Turn], ends: Sequence[int], tokenizer: Tokenizer
) -> Iterator[Segment]:
    """What a journal's reading has still to read up to the last of `ends`: first the rest of a halved segment.

    Raises:
        RunError: its last segment is not in the document.
    """
    last = memories[-1].request.segment if memories else None
    cursor = _Cursor(document)
    place = 0
    rest: tuple[int, ...] = ()
    if last:
        cursor.skip(last.start)
        if cursor.take(last.end) != last.text:
            raise RunError("The document reads otherwise than when the run began: give the same one, or another --run.")
        place, rest = last.end, last.rest
    cut = rest[-1] if rest else place
    for number, end in enumerate([*rest, *(end for end in ends if end > cut)], 1):
        text = cursor.take(end)
        yield Segment(place, end, text, count(tokenizer, text), rest[number:])
        place = end


class _Cursor:
    """Goes forward through a document's text by character offsets."""

    def __init__(self, document: Document) -> None:
        self._chunks = document.chunks()
        self._held = ""
        self._place = 0  # of what is held

    def skip(self, end: int) -> None:
        while self._place + len(self._held) < end:
            self._place, self._held = self._place + len(self._held), next(self._chunks, "")
            if not self._held:
                return
        self.take(end)

    def take(self, end: int) -> str:
        """The text up to `end`."""
        parts, length = [self._held], len(self._held)
        while self._place + length < end and (chunk := next(self._chunks, "")):
            parts.append(chunk)
            length += len(chunk)
        text = "".join(parts)
        wanted = end - self._place
        self._held, self._place = text[wanted:], end
        return text[:wanted]

    def after(self, end: int) -> Iterator[str]:
        """All that comes after `end`."""
        self.skip(end)
        yield self._held
        yield from self._chunks
