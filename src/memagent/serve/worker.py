"""Run readings: each waits for its turn, reads, and leaves its final state on the shelf."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from memagent.agent import MemoryAgent
from memagent.core.budget import Budget
from memagent.core.limits import Limits
from memagent.documents import stored_documents
from memagent.documents.sandbox import SANDBOX
from memagent.errors import LimitReached, MemagentError, ModelError, RunError, Stopped, StorageError
from memagent.models.chat import Chat
from memagent.runs.run import FILE
from memagent.runs.threads import off_the_loop
from memagent.serve.job import Job
from memagent.serve.opening import Opening
from memagent.serve.outcome import Outcome, outcome_of
from memagent.serve.service_limits import ServiceLimits
from memagent.serve.shelf import Shelf, State, StoredReading
from memagent.serve.slots import SharedChat, Slots

_OUTCOMES = 200  # kept in memory, because scanning a long journal takes seconds

_LOG = logging.getLogger(__name__)


class Worker:
    """Runs the readings of a service. `jobs` has those that are queued or in progress, by id."""

    def __init__(self, chat: Chat, budget: Budget, shelf: Shelf, limits: ServiceLimits) -> None:
        self.jobs: dict[str, Job] = {}
        self.calls = Slots(chat.concurrency)
        """The model's slots, which readings and short prompts share."""
        self.opening = Opening()
        """Threads that open documents. They are apart, because a slow document must not hold up the journals."""
        self._reading = Slots(limits.readings, one_each=True)
        self._chat, self._budget, self._shelf, self._limits = chat, budget, shelf, limits
        self._outcomes: dict[tuple[str, int, int], Outcome] = {}  # by the journal's id, time and size
        self._closing = False

    def leave(self) -> None:
        """Let no client wait any longer, because the service is about to end."""
        self._closing = True
        SANDBOX.interrupt()  # a conversion can take minutes
        for job in self.jobs.values():
            job.leave()

    async def close(self) -> None:
        """Stop all readings. Those that are not finished resume when the next service opens the folder."""
        self.leave()
        tasks = [job.task for job in self.jobs.values() if job.task]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self.opening.close()

    def queued(self, owner: str) -> int:
        """Return the number of an owner's readings that wait for their turn."""
        return self._reading.waiting(owner)

    def has_room(self, owner: str) -> bool:
        """Return whether a reading of the owner could begin at once."""
        return self._reading.free(owner)

    async def outcome(self, stored: StoredReading) -> Outcome | None:
        """Return the outcome of a reading so far; None if its journal is missing or still empty."""
        folder = self._shelf.journal(stored.id)
        try:
            journal = (folder / FILE).stat()
        except FileNotFoundError:
            return None
        key = stored.id, journal.st_mtime_ns, journal.st_size
        if found := self._outcomes.get(key):
            return found
        try:
            found = self._outcomes[key] = await off_the_loop(outcome_of, folder)
        except RunError:
            if stored.state == "done":
                raise
            return None  # the journal's first line is not written yet
        if len(self._outcomes) > _OUTCOMES:
            del self._outcomes[next(iter(self._outcomes))]
        return found

    def joinable(self, id_: str) -> Job | None:
        """Return the job of a reading, unless it is being stopped."""
        job = self.jobs.get(id_)
        return job if job and not job.stopping else None

    def begin(self, stored: StoredReading) -> StoredReading:
        before = self.jobs.get(stored.id)  # a job that is being stopped
        job = self.jobs[stored.id] = Job(stored)
        job.task = asyncio.create_task(self._read(job, before))
        job.task.add_done_callback(lambda task: self._ended(job, task))
        return stored

    async def _read(self, job: Job, before: Job | None) -> None:
        """Run the reading of a job, and set the job's final state. If there is a bug, `_ended` sets it."""
        if before and before.task:
            await asyncio.wait([before.task])
        async with self._reading.take(job.stored.owner):
            began = time.monotonic()
            state: State | None = None
            answer = None
            left = self._limits.seconds and self._limits.seconds - job.stored.seconds
            try:
                self._become(job, "reading")
                async with asyncio.timeout(left):
                    answer = await self._ask(job)
                state = "done"
            except TimeoutError:
                state, job.error = "stopped", LimitReached(f"The reading took more than {self._limits.seconds:g} s.")
            except Stopped as error:
                state, job.error = "stopped", error
            except MemagentError as error:
                state, job.error = "reading" if self._closing else "failed", error
            except asyncio.CancelledError:
                state = "reading" if self._closing else "cancelled"
                raise
            finally:
                if state:
                    error_ = str(job.error) if job.error and state != "reading" else None
                    seconds = round(job.stored.seconds + time.monotonic() - began, 3)
                    self._become(job, state, error=error_, seconds=seconds, answer=answer, **job.progress.figures)

    async def _ask(self, job: Job) -> str:
        """Run the reading of a job, and return the answer."""
        stored = job.stored
        if before := await self.outcome(stored):
            job.progress.memory, job.progress.segments = before.memory, before.segments
            job.progress.prompt_tokens = before.usage.prompt_tokens
            job.progress.completion_tokens = before.usage.completion_tokens
        agent = MemoryAgent(SharedChat(self._chat, self.calls, stored.owner), budget=self._budget, reader=stored.reader)
        limits, folder = Limits(max_tokens=self._limits.tokens), self._shelf.journal(stored.id)
        with await self.opening.run(stored.owner, stored_documents, self._shelf.files(stored)) as document:
            answer = await agent.ask_async(stored.question, document, run=folder, limits=limits, watch=job.watch)
        return answer.text

    def _ended(self, job: Job, task: asyncio.Task[None]) -> None:
        bug = None if task.cancelled() else task.exception()
        if bug:
            _LOG.error("A reading failed unexpectedly.", exc_info=bug)
            job.error = ModelError("The reading failed unexpectedly: see the service's log.")
            self._become(job, "failed", error=str(job.error))
        elif job.active and not self._closing:  # the reading was cancelled in the queue
            self._become(job, "cancelled")
        if self.jobs.get(job.stored.id) is job:
            del self.jobs[job.stored.id]

    async def stop(self, job: Job) -> None:
        assert job.task is not None
        self._cancel(job)
        await asyncio.wait([job.task])
        await asyncio.sleep(0)  # so that `_ended` runs before this returns

    def _cancel(self, job: Job) -> None:
        job.stopping = True
        if job.task:
            job.task.cancel()

    @contextmanager
    def attached(self, stored: StoredReading) -> Iterator[Job | None]:
        """Count the caller as a client that waits for a reading. Yields its job, or None if it is not active.

        A reading that is not detached is cancelled when its last client has left, unless a client comes back soon.
        """
        job = self.jobs.get(stored.id)
        if job is None:
            yield None
            return
        job.waiting += 1
        if job.giving_up:
            job.giving_up.cancel()
        try:
            yield job
        finally:
            job.waiting -= 1
            if self._abandoned(job):
                loop = asyncio.get_running_loop()
                job.giving_up = loop.call_later(self._limits.patience, self._give_up, job)

    def _abandoned(self, job: Job) -> bool:
        return job.active and not job.waiting and not job.stored.detached

    def _give_up(self, job: Job) -> None:
        if self._abandoned(job):
            self._cancel(job)

    def _become(self, job: Job, state: State, **changes: object) -> None:
        job.become(state, **changes)
        if self.jobs.get(job.stored.id) is not job:  # another job has begun with this reading
            return
        try:
            self._shelf.put(job.stored)
        except StorageError as error:  # the journal is on disk, so the next service resumes the reading
            _LOG.error("%s", error)
        _LOG.info("%s: %s.", job.stored.id, state)
