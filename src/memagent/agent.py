"""MemoryAgent: a reading, a chat and a journal put together.

The story is `MemoryAgent.ask_all`: open the model, check the budget, open one journal a question, cut the document
once, and advance all readings in step, a turn each, until every one has its answer. In step, because an engine with a
prefix cache then meets the same segment in all prompts at the same time.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import memagent
from memagent.budget import Budget
from memagent.chat import Chat
from memagent.chat.connect import connect
from memagent.citations import Citation, cite
from memagent.documents import Document, Part, locate, open_documents
from memagent.errors import BudgetError, RunError, WindowOverflow
from memagent.journal import Header, Journal, Run
from memagent.limits import Limits
from memagent.prompts import AnswerStyle, Layout, fill, prompts_for
from memagent.reading import Reading, answer, reading
from memagent.records import Completion, Message, Request, Segment, Trace, Turn, Usage
from memagent.scoring import final_answer
from memagent.segments import Cut, segments
from memagent.tokenizer import count

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Cited:
    """A place the answer rests on: `quote` is `[start:end]` of the named document, in characters."""

    document: str
    start: int
    end: int
    quote: str
    segment: int
    """The turn that read it, from 0."""
    page: int | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a reading gave. `seconds` is wall time of this call; `usage` counts every turn, resumed ones too."""

    question: str
    text: str
    memory: str
    citations: tuple[Cited, ...]
    trace: Trace
    usage: Usage
    seconds: float
    run: Path | None


@dataclass(frozen=True, slots=True)
class Watch:
    """Callbacks while reading. The number of a question counts from 0."""

    on_start: Callable[[int, int, int], None] = lambda characters, turns, read: None
    """Characters in the document; turns that journals already hold, and characters read in them."""
    on_text: Callable[[int, str], None] | None = None
    """The completion in progress, as far as it has been written."""
    on_turn: Callable[[int, Turn], None] = lambda question, turn: None


class _Run:
    """One question's reading under way. With a journal its turns are kept there, else here."""

    def __init__(self, question: str, steps: Reading, journal: Journal | None) -> None:
        self.question = question
        self.journal = journal
        self.request: Request | None = None
        """What the reading wants next; None once it has its answer."""
        self.answer = ""
        self.turns = 0
        self._reading = steps
        self._kept: list[Turn] = []

    @property
    def trace(self) -> Trace:
        return self.journal.trace if self.journal else Trace(self.question, self._kept)

    @property
    def usage(self) -> Usage:
        return self.journal.usage if self.journal else self.trace.usage

    def start(self) -> None:
        """Up to the first request that the journal has no completion for."""
        self._advance(lambda: next(self._reading))
        if self.journal:
            for turn in self.journal.trace.turns:
                self._send(turn.completion)

    def take(self, completion: Completion) -> Turn:
        """A turn is finished: keep it, then go on to the next request."""
        assert self.request is not None
        turn = Turn(self.turns, self.request, completion)
        if self.journal:
            self.journal.append(turn)
        else:
            self._kept.append(turn)
        self._send(completion)
        return turn

    def overflow(self, error: WindowOverflow) -> None:
        """The prompt was too long: the reading asks again with less, or raises."""
        self._advance(lambda: self._reading.throw(error))

    def _send(self, completion: Completion) -> None:
        self.turns += 1
        self._advance(lambda: self._reading.send(completion))

    def _advance(self, step: Callable[[], Request]) -> None:
        try:
            self.request = step()
        except StopIteration as stop:
            self.request, self.answer = None, stop.value


class MemoryAgent:
    """Reads documents with one model and one set of settings.

    Args:
        chat: the model, or its name as for `--model`.
        budget: tokens for question, segment, memory and answer.
        cut: where segments end, see `memagent.segments`.
        layout: "paper", or "section-first" for many questions on one document.
        answer: the format asked of the model for its answer.
        fsync: wait for the disk after each turn of a journalled reading.

    A context manager: `close()` lets go of the model.
    """

    def __init__(
        self,
        chat: Chat | str = "local",
        *,
        budget: Budget | None = None,
        cut: Cut = "natural",
        layout: Layout = "paper",
        answer: AnswerStyle = "boxed",
        fsync: bool = True,
    ) -> None:
        self.chat = connect(chat) if isinstance(chat, str) else chat
        self.budget = budget or Budget()
        self.prompts = prompts_for(layout, answer)
        self._cut, self._layout, self._answer, self._fsync = cut, layout, answer, fsync
        self._runner = asyncio.Runner()  # one event loop for all synchronous calls: connections live in it

    # -- what people call -------------------------------------------------------------------------------------------

    def ask(self, question: str, document: Document | str | Sequence[str], **options: Any) -> Answer:
        """Read `document` (paths, URLs, "-", or a Document) and answer. Options as for `ask_all`, but `run` a path."""
        return self._sync(self.ask_async(question, document, **options))

    def ask_many(
        self, questions: Sequence[str], document: Document | str | Sequence[str], **options: Any
    ) -> list[Answer]:
        """Several questions on one document, read together. Options as for `ask_all`."""
        return self._sync(self.ask_all(questions, document, **options))

    async def ask_async(
        self, question: str, document: Document | str | Sequence[str], run: Path | None = None, **options: Any
    ) -> Answer:
        """`ask` for programs with an event loop of their own."""
        return (await self.ask_all([question], document, runs=[run] if run else None, **options))[0]

    async def stream(
        self, question: str, document: Document | str | Sequence[str], **options: Any
    ) -> AsyncIterator[Turn | Answer]:
        """The turns as they happen, then the Answer."""
        queue: asyncio.Queue[Turn | Answer] = asyncio.Queue()
        watch = Watch(on_turn=lambda _, turn: queue.put_nowait(turn))
        task = asyncio.create_task(self.ask_async(question, document, watch=watch, **options))
        try:
            while not (task.done() and queue.empty()):
                waiter = asyncio.create_task(queue.get())
                await asyncio.wait({task, waiter}, return_when=asyncio.FIRST_COMPLETED)
                if waiter.done():
                    yield waiter.result()
                else:
                    waiter.cancel()
            yield task.result()
        finally:
            task.cancel()

    async def ask_all(
        self,
        questions: Sequence[str],
        document: Document | str | Sequence[str],
        *,
        runs: Sequence[Path] | None = None,
        limits: Limits | None = None,
        watch: Watch | None = None,
        fresh: bool = False,
    ) -> list[Answer]:
        """Read `document` once for all `questions`, in step.

        Args:
            runs: a folder a question, where its journal is kept, and resumed from. None keeps nothing.
            limits: the most that may be spent.
            watch: callbacks while reading.
            fresh: begin the runs anew instead of resuming them.

        Raises:
            MemagentError: see `memagent.errors`. What is in the journals stays there; calling again goes on.
        """
        started = time.perf_counter()
        watch = watch or Watch()
        with ExitStack() as stack:
            if not isinstance(document, Document):
                names = [document] if isinstance(document, str) else document
                document = stack.enter_context(open_documents(names))
            characters = document.measure()
            await self.chat.open()
            for question in questions:
                self._check(question)
            journals = self._journals(questions, document, runs, fresh, stack)
            readings = self._start(questions, document, journals)
            read = sum(_end(run.trace.memories) for run in readings)
            watch.on_start(characters, sum(run.turns for run in readings), read)
            await self._drive(readings, limits or Limits(), watch)
            return [self._finish(run, document, time.perf_counter() - started) for run in readings]

    def close(self) -> None:
        self._sync(self.chat.close())
        self._runner.close()

    def __enter__(self) -> MemoryAgent:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- how it is done ---------------------------------------------------------------------------------------------

    def _sync(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    def _check(self, question: str) -> None:
        """The budget against the window, chat template included, before the first call."""
        if not question.strip():
            raise BudgetError("The question is empty: ask something.")
        empty = fill(self.prompts.update, prompt=question, memory="", chunk="")
        last = answer(question, "", self.budget, self.prompts)
        self.budget.check(
            question=count(self.chat.tokenizer, question),
            update=self.chat.prompt_tokens([Message("user", empty)]),
            answer=self.chat.prompt_tokens(last.messages),
            window=self.chat.window,
        )

    def header(self, question: str, document: Document) -> Header:
        """What a run is: two readings with the same header may share a journal."""
        if not document.parts:
            document.measure()
        return {
            "memagent": memagent.__version__,
            "question": question,
            "model": self.chat.model,
            "sampling": asdict(self.chat.sampling),
            "budget": asdict(self.budget),
            "cut": self._cut,
            "layout": self._layout,
            "answer": self._answer,
            "documents": [
                {"sha256": source.sha256, **asdict(part)}
                for source, part in zip(document.sources, document.parts, strict=True)
            ],
        }

    def _journals(
        self,
        questions: Sequence[str],
        document: Document,
        runs: Sequence[Path] | None,
        fresh: bool,
        stack: ExitStack,
    ) -> list[Journal | None]:
        if runs is None:
            return [None] * len(questions)
        journals: list[Journal | None] = []
        for question, folder in zip(questions, runs, strict=True):
            journal = Journal(Path(folder), self.header(question, document), fresh=fresh, fsync=self._fsync)
            stack.callback(journal.close)
            journals.append(journal)
        return journals

    def _start(self, questions: Sequence[str], document: Document, journals: Sequence[Journal | None]) -> list[_Run]:
        """All readings, at the first turn that their journals do not hold. They share one cutting of the document."""
        ahead = max((journal.trace.memories for journal in journals if journal), key=_end, default=())
        shared = itertools.tee(self._rest(document, ahead[-1].request.segment if ahead else None), len(questions))
        runs = []
        for question, journal, rest in zip(questions, journals, shared, strict=True):
            own = journal.trace.memories if journal else ()
            behind = _after(_end(own), _segments_of(ahead))  # what the others have read already
            pieces = itertools.chain(_segments_of(own), behind, rest)
            run = _Run(question, reading(question, pieces, self.budget, self.prompts), journal)
            run.start()
            runs.append(run)
        return runs

    def _rest(self, document: Document, last: Segment | None) -> Iterator[Segment]:
        """The document after the segment `last`, cut."""
        chunks = document.chunks() if last is None else _resume(document.chunks(), last)
        return segments(chunks, self.budget.segment, self.chat.tokenizer, self._cut, last.end if last else 0)

    async def _drive(self, runs: Sequence[_Run], limits: Limits, watch: Watch) -> None:
        """A turn of each unfinished reading at a time. A failed turn stops all, after the others' were kept."""
        while unfinished := [(number, run) for number, run in enumerate(runs) if run.request is not None]:
            if limits.any:
                spent = sum((run.usage for run in runs), Usage())
                limits.check(spent, self._coming(run for _, run in unfinished))
            turns = [self._turn(number, run, watch) for number, run in unfinished]
            for result in await asyncio.gather(*turns, return_exceptions=True):
                if isinstance(result, BaseException):
                    raise result

    async def _turn(self, number: int, run: _Run, watch: Watch) -> None:
        assert run.request is not None
        on_text = watch.on_text
        show = (lambda text: on_text(number, text)) if on_text else None
        try:
            completion = await self.chat.complete(run.request, show)
        except WindowOverflow as error:
            run.overflow(error)
        else:
            watch.on_turn(number, run.take(completion))

    def _coming(self, runs: Iterable[_Run]) -> Usage:
        """The most that the next turns can take."""
        coming = Usage()
        for run in runs:
            if run.request:
                coming += Usage(self.chat.prompt_tokens(run.request.messages), run.request.max_tokens)
        return coming

    def _finish(self, run: _Run, document: Document, seconds: float) -> Answer:
        found = citations_of(run.journal) if run.journal else None
        if found is None:
            found = cite(run.trace)
            if run.journal:
                run.journal.finish({"citations": [asdict(citation) for citation in found]})
        return Answer(
            question=run.question,
            text=final_answer(run.answer, self._answer),
            memory=run.trace.memory,
            citations=tuple(cited(citation, document.parts) for citation in found),
            trace=run.trace,
            usage=run.usage,
            seconds=seconds,
            run=run.journal.folder if run.journal else None,
        )


def cited(citation: Citation, parts: Sequence[Part]) -> Cited:
    """A citation of the joined text, as a place in one of its documents."""
    place = locate(parts, citation.start, citation.end)
    quote = citation.quote[: place.end - place.start]
    return Cited(place.name, place.start, place.end, quote, citation.turn, place.page)


def citations_of(run: Run) -> list[Citation] | None:
    """The citations that a finished run holds; None while it is unfinished."""
    return None if run.end is None else [Citation(**citation) for citation in run.end["citations"]]


def parts_of(run: Run) -> list[Part]:
    """Where each document of a run lies in the joined text."""
    return [Part(each["name"], each["start"], each["end"], tuple(each["pages"])) for each in run.header["documents"]]


def _segments_of(memories: Iterable[Turn]) -> Iterator[Segment]:
    for turn in memories:
        if turn.request.segment:
            yield turn.request.segment


def _end(memories: Sequence[Turn]) -> int:
    """How far a reading has come, in characters."""
    segment = memories[-1].request.segment if memories else None
    return segment.end if segment else 0


def _after(end: int, pieces: Iterable[Segment]) -> Iterator[Segment]:
    """The segments from `end` on; of one that a reading had to halve, the half that it has not read."""
    for piece in pieces:
        if piece.end > end:
            inside = max(end - piece.start, 0)
            tokens = max(1, piece.tokens * (len(piece.text) - inside) // len(piece.text))
            yield Segment(piece.start + inside, piece.end, piece.text[inside:], tokens) if inside else piece


def _resume(chunks: Iterable[str], last: Segment) -> Iterator[str]:
    """The text after the segment `last`, which must still stand where it stood."""
    stream, place, held = iter(chunks), 0, ""
    while place + len(held) < last.end:
        if place + len(held) <= last.start:
            place, held = place + len(held), ""
        chunk = next(stream, None)
        if chunk is None:
            break
        held += chunk
    if held[last.start - place : last.end - place] != last.text:
        raise RunError("The document reads differently from when the run began: give the same one, or another --run.")
    yield held[last.end - place :]
    yield from stream
