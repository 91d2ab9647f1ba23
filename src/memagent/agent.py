"""MemoryAgent: a reading, a chat and a journal put together.

Start with `MemoryAgent.ask_all`. It opens the document, the model and one journal per question, checks the budget, and
lets `driver.drive` take turns until every question has its answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import ExitStack
from copy import copy
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self, get_args

from memagent._version import __version__
from memagent.core.budget import Budget
from memagent.core.limits import Limits
from memagent.core.prompts import AnswerStyle, Layout, prompts_for
from memagent.core.reading import Reader, shortest_prompts
from memagent.core.records import Turn
from memagent.core.scoring import final_answer
from memagent.core.segments import Cut
from memagent.core.tokenizer import count
from memagent.documents import Document, open_documents
from memagent.errors import BudgetError, UsageError
from memagent.evidence.answer import Answer, citations_of, cited, warnings_of
from memagent.evidence.citations import cite
from memagent.evidence.warnings import doubts, losses, unread
from memagent.models.chat import Chat
from memagent.models.connect import connect
from memagent.readers import find_reader
from memagent.runs.asking import Asking
from memagent.runs.driver import drive
from memagent.runs.journal import Journal
from memagent.runs.journal_lines import Header
from memagent.runs.resume import begin
from memagent.runs.threads import off_the_loop
from memagent.runs.watch import Watch, harmless

Source = Document | str | Path | Sequence[str | Path]
"""A Document, or anything that `open_documents` opens: paths, folders, URLs, "-" for standard input."""


class MemoryAgent:
    """Reads documents with one model and one set of settings.

    Args:
        chat: the model, or its name as for `--model`.
        budget: tokens for question, segment, memory and answer; None for the model's default.
        cut: where segments end, see `memagent.core.segments`.
        layout: "paper", "section-first" for many questions about one document, or a template of your own; None for the
            model's default.
        answer: "boxed", "sentence", or a template of your own; None for the model's default.
        reader: a name in `memagent.readers.READERS`, or a reader of your own; None for the model's default.
        fsync: whether to wait for the disk after each turn of a journalled reading.
        citations: whether to follow the facts of the last memory back to the document.

    It is a context manager (`with` or `async with`), which releases the model at the end.
    """

    def __init__(
        self,
        chat: Chat | str = "local",
        *,
        budget: Budget | None = None,
        cut: Cut = "natural",
        layout: Layout | str | None = None,
        answer: AnswerStyle | str | None = None,
        reader: str | Reader | None = None,
        fsync: bool = True,
        citations: bool = True,
    ) -> None:
        if cut not in get_args(Cut):
            raise UsageError(f"cut must be {' or '.join(get_args(Cut))}, not {cut}.")
        self.chat = connect(chat) if isinstance(chat, str) else chat
        defaults = self.chat.defaults
        own_layout, own_answer = defaults.prompts.names
        self.budget = budget or defaults.budget
        self.prompts = prompts_for(layout or own_layout, answer or own_answer, defaults.prompts)
        self._cut = cut
        named = reader or defaults.reader
        self._reader = find_reader(named, defaults.reader) if isinstance(named, str) else named
        self._fsync, self._citations = fsync, citations
        self._runner = asyncio.Runner()  # one event loop for all synchronous calls: connections live in it

    # -- public -----------------------------------------------------------------------------------------------------

    def ask(
        self,
        question: str,
        document: Source,
        *,
        run: Path | None = None,
        limits: Limits | None = None,
        watch: Watch | None = None,
        fresh: bool = False,
    ) -> Answer:
        """Read `document` (a path, a folder, a URL, several of them, or a Document) and answer `question`.

        Args:
            run: folder where the journal is kept and resumed from; None for no journal.
            limits, watch, fresh: see `ask_all`.
        """
        return self.ask_many([question], document, runs=_runs(run), limits=limits, watch=watch, fresh=fresh)[0]

    def ask_many(
        self,
        questions: Sequence[str],
        document: Source,
        *,
        runs: Sequence[Path] | None = None,
        limits: Limits | None = None,
        watch: Watch | None = None,
        fresh: bool = False,
    ) -> list[Answer]:
        """Ask several questions about one document, which is read once for all of them. See `ask_all`."""
        _refuse_loop("ask_async or ask_all")
        return self._runner.run(self.ask_all(questions, document, runs=runs, limits=limits, watch=watch, fresh=fresh))

    async def ask_async(
        self,
        question: str,
        document: Source,
        *,
        run: Path | None = None,
        limits: Limits | None = None,
        watch: Watch | None = None,
        fresh: bool = False,
    ) -> Answer:
        """Do the same as `ask`, for programs with an event loop of their own."""
        return (await self.ask_all([question], document, runs=_runs(run), limits=limits, watch=watch, fresh=fresh))[0]

    async def stream(
        self,
        question: str,
        document: Source,
        *,
        run: Path | None = None,
        limits: Limits | None = None,
        watch: Watch | None = None,
        fresh: bool = False,
    ) -> AsyncGenerator[Turn | Answer, None]:
        """Yield the turns as they finish, then the Answer. Leaving early stops the reading."""
        queue: asyncio.Queue[Turn | None] = asyncio.Queue()
        watch = watch or Watch()
        tell = watch.on_turn

        def on_turn(number: int, turn: Turn) -> None:
            tell(number, turn)
            queue.put_nowait(turn)

        watch = replace(watch, on_turn=on_turn)
        task = asyncio.create_task(self.ask_async(question, document, run=run, limits=limits, watch=watch, fresh=fresh))
        task.add_done_callback(lambda _: queue.put_nowait(None))
        try:
            while (turn := await queue.get()) is not None:
                yield turn
            yield task.result()
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def ask_all(
        self,
        questions: Sequence[str],
        document: Source,
        *,
        runs: Sequence[Path] | None = None,
        limits: Limits | None = None,
        watch: Watch | None = None,
        fresh: bool = False,
    ) -> list[Answer]:
        """Read `document` once for all `questions`, in step.

        Args:
            runs: one folder per question, where its journal is kept and resumed from; None for no journals.
            limits: the most that may be spent.
            watch: callbacks during the reading.
            fresh: whether to start the runs over instead of resuming them.

        Raises:
            MemagentError: see `memagent.errors`. The journals keep the finished turns; calling again continues.
        """
        started = time.perf_counter()
        watch = harmless(watch or Watch())
        if isinstance(questions, str):
            raise UsageError("ask_many and ask_all take a list of questions; for a single question, use ask.")
        for question in questions:
            if not question.strip():
                raise BudgetError("The question is empty: ask something.")
        if not questions or (runs is not None and len(runs) != len(questions)):
            raise UsageError(
                f"Got {len(questions)} questions and {len(runs or ())} runs: give at least one question, and one run "
                "for each."
            )
        with ExitStack() as stack:
            if not isinstance(document, Document):
                names = [document] if isinstance(document, str | Path) else document
                opened = await asyncio.to_thread(open_documents, [str(name) for name in names])
                document = stack.enter_context(opened)
            journals = await off_the_loop(self._journals, questions, document, runs, fresh, stack)
            if not all(journal and journal.end for journal in journals):
                await self.chat.open()
                for question in questions:
                    self.check_budget(question)
            asked = await off_the_loop(
                begin, questions, document, journals, self.chat.tokenizer, self.budget, self.prompts, self._cut,
                self._reader, stack,
            )  # fmt: skip
            read = sum(each.characters for each in asked)
            watch.on_start(document.length, sum(each.turns for each in asked), read)
            await drive(asked, self.chat, limits or Limits(), watch)
            seconds = time.perf_counter() - started
            return [await off_the_loop(self._finish, each, document, seconds) for each in asked]

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of the agent's readings, which do not depend on question and document."""
        layout, answer = self.prompts.names
        reader = self._reader.__name__
        return {"reader": reader, "budget": asdict(self.budget), "cut": self._cut, "layout": layout, "answer": answer}

    def reading_by(self, reader: str) -> MemoryAgent:
        """Return the same agent, with the same model but a different reader."""
        other = copy(self)
        other._reader = find_reader(reader, self.chat.defaults.reader)
        return other

    def check_budget(self, question: str) -> None:
        """Check that the budget fits the window, chat template included. The chat must be open.

        Raises:
            BudgetError: the message says by how many tokens it is too large.
        """
        shortest = shortest_prompts(self._reader, question, self.budget, self.prompts)
        tokens = {kind: self.chat.prompt_tokens(messages) for kind, messages in shortest.items()}
        self.budget.check(
            question=count(self.chat.tokenizer, question),
            update=max(size for kind, size in tokens.items() if kind != "answer"),
            answer=tokens["answer"],
            window=self.chat.window,
        )

    def header(self, question: str, document: Document) -> Header:
        """Return the identity of a run: two readings with the same header may share a journal."""
        return {
            "memagent": __version__,
            "question": question,
            "model": self.chat.model,
            "sampling": asdict(self.chat.sampling),
            **self.settings,
            "documents": [
                {"sha256": source.sha256, **asdict(part)}
                for source, part in zip(document.sources, document.parts, strict=True)
            ],
        }

    def close(self) -> None:
        """Release the model. Programs with an event loop of their own `await aclose()` instead."""
        _refuse_loop("aclose")
        self._runner.run(self.chat.close())
        self._runner.close()
        self._runner = asyncio.Runner()

    async def aclose(self) -> None:
        await self.chat.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    # -- internal ---------------------------------------------------------------------------------------------------

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

    def _finish(self, asked: Asking, document: Document, seconds: float) -> Answer:
        journal, trace = asked.journal, asked.trace
        text = final_answer(asked.answer, self.prompts.style)
        found = citations_of(journal) if journal else None
        segments = trace.segments
        if found is None:
            found = cite(trace) if self._citations else []
            warnings = [*document.warnings, *self.chat.warnings, *losses(trace, segments)]
            warnings += unread(asked.characters, document.length)
            if self._citations:
                warnings += doubts(text, trace.memory, bool(found))
            if journal:
                cited_ = [asdict(citation) for citation in found]
                journal.finish({"answer": text, "citations": cited_, "warnings": warnings})
        else:
            warnings = warnings_of(journal) if journal else []
        return Answer(
            question=asked.question,
            text=text,
            finish=trace.turns[-1].completion.finish,
            memory=trace.memory,
            citations=tuple(cited(citation, document.parts, segments) for citation in found),
            segments=max(segments, default=-1) + 1,
            trace=trace,
            usage=asked.usage,
            seconds=seconds,
            run=journal.folder if journal else None,
            warnings=tuple(warnings),
        )


def _runs(run: Path | None) -> list[Path] | None:
    return None if run is None else [run]


def _refuse_loop(instead: str) -> None:
    """Raise an error if an event loop is running, because synchronous calls need their own."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise UsageError(f"An event loop is running here: use {instead}.")
