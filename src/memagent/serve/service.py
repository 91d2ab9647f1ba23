"""Readings as jobs on disk, for all protocols. Start, join, watch and cancel them, and resume them after a restart."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Self

from memagent.agent import MemoryAgent
from memagent.core.budget import Budget
from memagent.core.tokenizer import count
from memagent.errors import BudgetError, MemagentError, StorageError, UsageError
from memagent.models.chat import Chat
from memagent.readers import find_reader
from memagent.serve.service_limits import ServiceLimits
from memagent.serve.shelf import Shelf, State, StoredReading, digest, reading_id
from memagent.serve.worker import Worker

_LOG = logging.getLogger(__name__)

_EXPIRE_SECONDS = 3600.0
_OTHER_SETTINGS = (
    "This reading was started with another model or other settings: ask again, or start the service as it was then."
)


class NoSuchReading(UsageError):
    """The owner has no reading with this id."""


class Busy(MemagentError):
    """The owner has too many readings in the queue. The doors tell the client to try again later."""


class Service:
    """Reads documents with one model for many clients. It is an async context manager that opens and closes the model.

    Args:
        chat: the model, which nothing else may use.
        folder: the folder for documents, states and journals. Only one service at a time can use it.
        budget: tokens for question, segment, memory and answer; None for the model's default.
        reader: name of the reader to use unless a client chooses another; None for the model's default.
    """

    def __init__(
        self,
        chat: Chat,
        folder: Path,
        *,
        budget: Budget | None = None,
        reader: str | None = None,
        limits: ServiceLimits | None = None,
    ) -> None:
        self.chat = chat
        self.limits = limits or ServiceLimits()
        self.budget = budget or chat.defaults.budget
        self.reader = find_reader(reader or chat.defaults.reader, chat.defaults.reader).__name__
        self.shelf = Shelf(folder)
        self.worker = Worker(chat, self.budget, self.shelf, self.limits)

    async def __aenter__(self) -> Self:
        with ExitStack() as undo:
            undo.callback(self.shelf.close)
            await self.chat.open()
            undo.pop_all()
        self.shelf.sweep()
        self._expiring = asyncio.create_task(self._expire())
        for stored in self.shelf.unfinished():
            if stored.settings == self._settings(stored.reader):
                self.worker.begin(stored)
            else:
                self._put(stored, state="stopped", error=_OTHER_SETTINGS)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop all readings. Unfinished readings resume when the next service opens the folder."""
        self._expiring.cancel()
        await self.worker.close()
        self.shelf.close()
        await self.chat.close()

    # -- what clients ask for ---------------------------------------------------------------------------------------

    def check(self, question: str, reader: str | None) -> str:
        """Check a question and the name of a reader, before documents are kept for them.

        Returns:
            The full name of the reader.

        Raises:
            UsageError: there is no such reader, or the question is empty or too long.
        """
        if not question.strip():
            raise BudgetError("The question is empty: ask something.")
        tokens = count(self.chat.tokenizer, question)
        if tokens > self.budget.question:
            raise BudgetError(
                f"The question has {tokens:,} tokens, {tokens - self.budget.question:,} more than its budget of "
                f"{self.budget.question:,}: shorten it."
            )
        return find_reader(reader, self.chat.defaults.reader).__name__ if reader else self.reader

    def start(
        self,
        owner: str,
        question: str,
        documents: Sequence[str],
        *,
        reader: str | None = None,
        detached: bool = True,
        fresh: bool = False,
    ) -> StoredReading:
        """Start a reading, or join the one with the same owner, question, documents and settings.

        A finished reading is returned as it is. A reading that ended early is resumed.

        Args:
            documents: ids of the owner's documents.
            reader: name of the reader; None for the service's default.
            detached: whether the reading continues when no client waits for it.
            fresh: whether to read again even if there is already an answer.

        Raises:
            UsageError: there is no such reader, or the question is empty or too long.
            DocumentError: the owner has no such document.
            Busy: the owner has too many readings in the queue.
        """
        chosen = self.check(question, reader)
        for document in documents:
            self.shelf.document(owner, document)
        settings = self._settings(chosen)
        id_ = reading_id(owner, question, list(documents), settings)
        stored = self.shelf.reading(owner, id_)
        if stored is None:
            stored = StoredReading(id_, owner, question, chosen, tuple(documents), settings)
        elif job := self.worker.joinable(id_):
            if detached:
                job.stored = self._put(job.stored, detached=True)
            return job.stored
        elif stored.state == "done" and not fresh:
            return stored
        return self._queue(stored, detached, fresh)

    def resume(self, owner: str, id_: str) -> StoredReading:
        """Resume a reading that ended early.

        Raises:
            NoSuchReading: there is none.
            UsageError: it was started with another model or other settings.
            Busy: the owner has too many readings in the queue.
        """
        stored = self.find(owner, id_)
        if stored.state == "done" or self.worker.joinable(id_):
            return stored
        if stored.settings != self._settings(stored.reader):
            raise UsageError(_OTHER_SETTINGS)
        return self._queue(stored, detached=True)

    async def cancel(self, owner: str, id_: str) -> StoredReading:
        """Stop a reading. Its finished turns are kept. Raises NoSuchReading if there is none."""
        self.find(owner, id_)
        if job := self.worker.jobs.get(id_):
            await self.worker.stop(job)
        return self.find(owner, id_)

    async def remove(self, owner: str, id_: str) -> None:
        """Stop a reading and remove it permanently. Raises NoSuchReading if there is none."""
        stored = self.find(owner, id_)
        while job := self.worker.jobs.get(id_):  # it may be started again while it stops
            await self.worker.stop(job)
        self.shelf.remove_reading(stored)

    def find(self, owner: str, id_: str) -> StoredReading:
        """Return a reading of the owner. Raises NoSuchReading if there is none."""
        stored = self.shelf.reading(owner, id_)
        if stored is None:
            raise NoSuchReading(f"There is no reading {id_}.")
        return self._now(stored)

    def readings(self, owner: str, most: int) -> list[StoredReading]:
        """Return the owner's readings, newest first."""
        return [self._now(stored) for stored in self.shelf.readings(owner, most)]

    def ahead(self, stored: StoredReading) -> int:
        """Return how many of the owner's readings are ahead of this one in the queue."""
        before = [job.stored for job in self.worker.jobs.values() if job.stored.owner == stored.owner]
        return sum(each.state == "queued" and each.created < stored.created for each in before)

    @property
    def states(self) -> list[State]:
        """States of the readings that are queued or in progress."""
        return [job.stored.state for job in self.worker.jobs.values()]

    # -- internal ---------------------------------------------------------------------------------------------------

    def _now(self, stored: StoredReading) -> StoredReading:
        """Return the state of a reading. The shelf's is out of date if the disk was full."""
        if job := self.worker.jobs.get(stored.id):
            return job.stored
        if stored.state in ("queued", "reading"):
            return replace(stored, state="stopped", error="The state of this reading could not be stored: resume it.")
        return stored

    async def _expire(self) -> None:
        """Remove what is older than the limit, again and again."""
        while self.limits.days is not None:
            try:
                self.shelf.expire(time.time() - self.limits.days * 86400)
            except StorageError as error:
                _LOG.error("%s", error)
            await asyncio.sleep(_EXPIRE_SECONDS)

    def _settings(self, reader: str) -> str:
        """Return a digest of everything that a reading depends on, apart from its question and documents."""
        agent = MemoryAgent(self.chat, budget=self.budget, reader=reader)
        return digest(self.chat.model, asdict(self.chat.sampling), agent.settings)

    def _queue(self, stored: StoredReading, detached: bool, fresh: bool = False) -> StoredReading:
        if self.worker.queued(stored.owner) >= self.limits.waiting and not self.worker.has_room(stored.owner):
            raise Busy(f"You already have {self.limits.waiting} readings in the queue: wait until some are finished.")
        if fresh:
            self.shelf.remove_journal(stored.id)
            stored = replace(stored, answer=None, seconds=0.0)
        queued = self._put(stored, state="queued", error=None, detached=detached, created=time.time())
        return self.worker.begin(queued)

    def _put(self, stored: StoredReading, **changes: Any) -> StoredReading:
        stored = replace(stored, **changes)
        self.shelf.put(stored)
        return stored
