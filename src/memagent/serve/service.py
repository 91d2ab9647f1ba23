"""Readings as jobs on disk, for all protocols. Start, join, watch and cancel them, and resume them after a restart."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Self

from memagent.agent import MemoryAgent
from memagent.core.budget import Budget
from memagent.core.limits import Limits
from memagent.core.tokenizer import count
from memagent.documents import Document, stored_documents
from memagent.errors import (
    BudgetError,
    LimitReached,
    MemagentError,
    ModelError,
    RunError,
    Stopped,
    StorageError,
    UsageError,
)
from memagent.models.chat import Chat
from memagent.readers import find_reader
from memagent.runs.run import FILE
from memagent.runs.threads import off_the_loop
from memagent.serve.job import Job
from memagent.serve.outcome import Outcome, outcome_of
from memagent.serve.service_limits import ServiceLimits
from memagent.serve.shelf import Shelf, State, StoredReading, reading_id
from memagent.serve.slots import SharedChat, Slots

_LOG = logging.getLogger(__name__)


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
        self.calls = Slots(chat.concurrency)
        """The model's slots. Readings and short prompts share them."""
        self.shelf = Shelf(folder)
        self._reading = Slots(self.limits.readings)
        self._jobs: dict[str, Job] = {}
        self.opening = ThreadPoolExecutor(4, "memagent-documents")
        """Threads that open documents. They are separate, so that a slow document does not hold up the journals."""
        self._closing = False

    async def __aenter__(self) -> Self:
        try:
            await self.chat.open()
        except BaseException:
            self.shelf.close()
            raise
        for stored in self.shelf.unfinished():
            self._begin(stored)
        return self

    def leave(self) -> None:
        """Release all waiting clients, because the service is about to shut down."""
        self._closing = True
        for job in self._jobs.values():
            job.leave()

    async def __aexit__(self, *_: object) -> None:
        """Stop all readings. Unfinished readings resume when the next service opens the folder."""
        self.leave()
        tasks = [job.task for job in self._jobs.values() if job.task]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self.opening.shutdown(wait=False, cancel_futures=True)
        self.shelf.close()
        await self.chat.close()

    # -- what clients ask for ---------------------------------------------------------------------------------------

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
        self._check(question)
        chosen = find_reader(reader, self.chat.defaults.reader).__name__ if reader else self.reader
        for document in documents:
            self.shelf.document(owner, document)
        settings = [self.chat.model, asdict(self.chat.sampling), asdict(self.budget)]
        id_ = reading_id(owner, question, chosen, list(documents), settings)
        stored = self.shelf.reading(owner, id_)
        if stored is None:
            now = time.time()
            stored = StoredReading(id_, owner, question, chosen, tuple(documents), "queued", None, detached, now, 0.0)
        elif job := self._jobs.get(id_):
            if detached:
                job.stored = self._put(job.stored, detached=True)
            return job.stored
        elif stored.state == "done" and not fresh:
            return stored
        return self._queue(stored, detached, fresh)

    def resume(self, owner: str, id_: str) -> StoredReading:
        """Resume a reading that ended early. Raises NoSuchReading if there is none, and Busy as `start` does."""
        stored = self.find(owner, id_)
        if stored.state == "done" or id_ in self._jobs:
            return stored
        return self._queue(stored, True, False)

    async def cancel(self, owner: str, id_: str) -> StoredReading:
        """Stop a reading. Its finished turns are kept. Raises NoSuchReading if there is none."""
        self.find(owner, id_)
        if job := self._jobs.get(id_):
            await self._stop(job)
        return self.find(owner, id_)

    async def remove(self, owner: str, id_: str) -> None:
        """Stop a reading and remove it permanently. Raises NoSuchReading if there is none."""
        stored = await self.cancel(owner, id_)
        self.shelf.remove_reading(stored)

    def find(self, owner: str, id_: str) -> StoredReading:
        """Return a reading of the owner. Raises NoSuchReading if there is none."""
        job = self._jobs.get(id_)
        stored = job.stored if job and job.stored.owner == owner else self.shelf.reading(owner, id_)
        if stored is None:
            raise NoSuchReading(f"There is no reading {id_}.")
        return stored

    def job(self, id_: str) -> Job | None:
        """Return the job of a reading that is queued or in progress; None for any other reading."""
        return self._jobs.get(id_)

    def ahead(self, stored: StoredReading) -> int:
        """Return how many of the owner's readings are ahead of this one in the queue."""
        before = [job.stored for job in self._jobs.values() if job.stored.owner == stored.owner]
        return sum(each.state == "queued" and each.created < stored.created for each in before)

    @property
    def states(self) -> list[State]:
        """States of the readings that are queued or in progress."""
        return [job.stored.state for job in self._jobs.values()]

    async def outcome(self, stored: StoredReading) -> Outcome | None:
        """Return the outcome of a reading so far; None if its journal is missing or still empty."""
        folder = self.shelf.journal(stored.id)
        if not (folder / FILE).exists():
            return None
        try:
            return await off_the_loop(outcome_of, folder)
        except RunError:
            if stored.state == "done":
                raise
            return None  # the journal's first line is not written yet

    @contextmanager
    def attached(self, stored: StoredReading) -> Iterator[Job | None]:
        """Count the caller as a client that waits for a reading. Yields its job, or None if it is not active.

        A reading that is not detached is cancelled when its last client has left, unless a client comes back soon.
        """
        job = self._jobs.get(stored.id)
        if job is None:
            yield None
            return
        job.waiting += 1
        try:
            yield job
        finally:
            job.waiting -= 1
            if self._abandoned(job):
                asyncio.get_running_loop().call_later(self.limits.patience, self._give_up, job)

    # -- jobs -------------------------------------------------------------------------------------------------------

    def _check(self, question: str) -> None:
        if not question.strip():
            raise BudgetError("The question is empty: ask something.")
        tokens = count(self.chat.tokenizer, question)
        if tokens > self.budget.question:
            raise BudgetError(
                f"The question has {tokens:,} tokens, {tokens - self.budget.question:,} more than its budget of "
                f"{self.budget.question:,}: shorten it."
            )

    def _queue(self, stored: StoredReading, detached: bool, fresh: bool) -> StoredReading:
        if self._reading.waiting(stored.owner) >= self.limits.waiting:
            raise Busy(f"You already have {self.limits.waiting} readings in the queue: wait until some are finished.")
        return self._begin(self._put(stored, state="queued", error=None, detached=detached), fresh)

    def _put(self, stored: StoredReading, **changes: Any) -> StoredReading:
        stored = replace(stored, **changes)
        self.shelf.put(stored)
        return stored

    def _begin(self, stored: StoredReading, fresh: bool = False) -> StoredReading:
        job = self._jobs[stored.id] = Job(stored)
        job.task = asyncio.create_task(self._read(job, fresh))
        job.task.add_done_callback(lambda task: self._ended(job, task))
        return stored

    async def _read(self, job: Job, fresh: bool) -> None:
        """Run the reading of a job, and set the job's final state."""
        async with self._reading.take(job.stored.owner):
            began = time.monotonic()
            state: State = "failed"
            answer = None
            try:
                self._become(job, "reading")
                async with asyncio.timeout(self.limits.seconds):
                    answer = await self._ask(job, fresh)
                state = "done"
            except TimeoutError:
                state, job.error = "stopped", LimitReached(f"The reading took more than {self.limits.seconds:g} s.")
            except Stopped as error:
                state, job.error = "stopped", error
            except MemagentError as error:
                job.error = error
            except asyncio.CancelledError:
                state = "reading" if self._closing else "cancelled"
                raise
            finally:
                self._become(
                    job,
                    state,
                    error=str(job.error) if job.error else None,
                    seconds=round(job.stored.seconds + time.monotonic() - began, 3),
                    answer=answer,
                    characters=job.progress.characters,
                    read=job.progress.read,
                )

    async def _ask(self, job: Job, fresh: bool) -> str:
        """Run the reading of a job, and return the answer."""
        stored, folder = job.stored, self.shelf.journal(job.stored.id)
        if not fresh and (before := await self.outcome(stored)):
            job.progress.memory, job.progress.segments = before.memory, before.segments
            job.progress.prompt_tokens = before.usage.prompt_tokens
            job.progress.completion_tokens = before.usage.completion_tokens
        agent = MemoryAgent(SharedChat(self.chat, self.calls, stored.owner), budget=self.budget, reader=stored.reader)
        limits = Limits(max_tokens=self.limits.tokens)
        with await self._open(stored) as document:
            answer = await agent.ask_async(
                stored.question, document, run=folder, limits=limits, watch=job.watch, fresh=fresh
            )
        return answer.text

    async def _open(self, stored: StoredReading) -> Document:
        """Open the documents of a reading. If the caller is cancelled, the thread closes them again."""
        opening = self.opening.submit(stored_documents, self.shelf.files(stored))
        try:
            return await asyncio.shield(asyncio.wrap_future(opening))
        except asyncio.CancelledError:
            opening.add_done_callback(_close)
            raise

    def _ended(self, job: Job, task: asyncio.Task[None]) -> None:
        if self._jobs.get(job.stored.id) is job:
            del self._jobs[job.stored.id]
        bug = None if task.cancelled() else task.exception()
        if bug:
            _LOG.error("A reading failed unexpectedly.", exc_info=bug)
            job.error = ModelError("The reading failed unexpectedly: see the service's log.")
            self._become(job, "failed", error=str(job.error))
        elif job.active and not self._closing:  # the reading was cancelled in the queue
            self._become(job, "cancelled")

    async def _stop(self, job: Job) -> None:
        assert job.task is not None
        job.task.cancel()
        await asyncio.wait([job.task])
        await asyncio.sleep(0)  # so that `_ended` runs before this returns

    def _abandoned(self, job: Job) -> bool:
        return job.active and not job.waiting and not job.stored.detached

    def _give_up(self, job: Job) -> None:
        if self._abandoned(job) and job.task:
            job.task.cancel()

    def _become(self, job: Job, state: State, **changes: object) -> None:
        job.become(state, **changes)
        try:
            self.shelf.put(job.stored)
        except StorageError as error:  # the journal is on disk, so the next service resumes the reading
            _LOG.error("%s", error)
        _LOG.info("%s: %s.", job.stored.id, state)


def _close(opening: Future[Document]) -> None:
    if not opening.exception():
        opening.result().close()
