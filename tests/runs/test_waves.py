"""Waves of many calls: calls at once, limits and failures in the middle of a wave, and cutting the document again."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from keeper import KEYS, QUESTION, perfect, text

from memagent import Budget, Limits, MemoryAgent, Request, ScriptedChat, text_document
from memagent.core.records import Completion, Usage
from memagent.core.tokenizer import EstimatedTokenizer
from memagent.errors import LimitReached, ModelError
from memagent.models.chat import OnText
from memagent.runs.run import Run

TEXT = text()
BUDGET = Budget(segment=600, memory=300, answer=60)


class Slow(ScriptedChat):
    """Replies after a moment, and counts the calls."""

    concurrency = 4

    def __init__(self, fails_at: int = 0) -> None:
        super().__init__(perfect)
        self.begun = self.running = self.most = 0
        self._fails_at = fails_at

    async def complete(self, request: Request, on_text: OnText | None = None) -> Completion:
        self.begun += 1
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            fails = self.begun == self._fails_at
            await asyncio.sleep(0.002)
            if fails:
                raise ModelError("The server is dead.")
            return await super().complete(request, on_text)
        finally:
            self.running -= 1


def ask(chat: ScriptedChat, run: Path | None = None, limits: Limits | None = None, reader: str = "parallel") -> str:
    with MemoryAgent(chat, budget=BUDGET, reader=reader, fsync=False) as agent, text_document(TEXT) as document:
        return agent.ask(QUESTION, document, run=run, limits=limits).text


def test_no_more_calls_at_once_than_the_model_takes() -> None:
    chat = Slow()
    assert ask(chat) == KEYS
    assert chat.most == Slow.concurrency


def test_after_a_failure_the_calls_under_way_are_kept_and_no_other_begins(tmp_path: Path) -> None:
    chat = Slow(fails_at=6)
    with pytest.raises(ModelError, match="dead"):
        ask(chat, tmp_path)
    kept = len(Run(tmp_path).trace.turns)
    assert kept == chat.begun - 1
    assert chat.begun <= 6 + 2 * Slow.concurrency
    again = Slow()
    assert ask(again, tmp_path) == KEYS
    assert kept + again.begun == len(Run(tmp_path).trace.turns)


def test_a_limit_stops_a_wave_in_its_middle_and_is_never_passed(tmp_path: Path) -> None:
    limit = 20_000
    with pytest.raises(LimitReached, match="raise it and run the same command"):
        ask(Slow(), tmp_path, Limits(limit))
    run = Run(tmp_path)
    assert len(run.trace.turns) > 4
    assert limit - 3_000 < run.usage.total_tokens <= limit  # no other call could have fitted
    assert ask(Slow(), tmp_path) == KEYS


class Learning(Slow):
    """Counts tokens with an estimate, and reports a usage of almost nothing."""

    def __init__(self, fails_at: int = 0, bytes_per_token: float = 3) -> None:
        super().__init__(fails_at)
        self.tokenizer = EstimatedTokenizer(bytes_per_token)

    async def complete(self, request: Request, on_text: OnText | None = None) -> Completion:
        found = await super().complete(request, on_text)
        return Completion(found.text, "stop", Usage(1, 1))


@pytest.mark.parametrize("reader", ["parallel", "search", "search_collect"])
def test_a_document_is_cut_as_before_whatever_the_estimate_is_now(tmp_path: Path, reader: str) -> None:
    with pytest.raises(ModelError):
        ask(Learning(fails_at=2), tmp_path, reader=reader)
    spans = Run(tmp_path).spans
    assert ask(Learning(bytes_per_token=5), tmp_path, reader=reader) == KEYS
    assert set(Run(tmp_path).spans) == set(spans)
    assert max(end for _, end, _ in spans) == len(TEXT)
