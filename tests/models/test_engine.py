"""The engine's process can be killed, cannot be shadowed by files, and ends with its owner. Its failures are clear."""

from __future__ import annotations

import asyncio
import gc
import io
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from queue import SimpleQueue
from types import SimpleNamespace

import pytest
from data import SMOLLM2, needs_smollm2

from memagent.core.records import Message, Request
from memagent.errors import ModelError
from memagent.models.engine_link import Link
from memagent.models.engine_worker import Worker, _Job
from memagent.models.local import LocalChat

WORKER = "memagent.models.engine_worker"


def story(tokens: int = 400) -> Request:
    return Request((Message("user", "Tell a long story about a ferry."),), tokens)


def pid(chat: LocalChat) -> int:
    return chat._opened._link._process.pid


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
@needs_smollm2
def test_a_killed_engine_fails_its_calls_with_a_sentence_and_is_opened_again() -> None:
    async def run() -> None:
        chat = LocalChat(SMOLLM2)
        await chat.open()
        call = asyncio.create_task(chat.complete(story()))
        await asyncio.sleep(0.5)
        os.kill(pid(chat), signal.SIGKILL)
        with pytest.raises(ModelError, match=r"The engine's process ended with status -9"):
            await call
        first, second = await asyncio.gather(chat.complete(story(4)), chat.complete(story(4)))
        assert first.text == second.text != ""
        await chat.close()

    asyncio.run(run())


@pytest.mark.slow
@needs_smollm2
def test_the_event_loop_runs_while_the_engine_loads_and_steps() -> None:
    async def run() -> None:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.01)
                ticks += 1

        ticker = asyncio.create_task(tick())
        chat = LocalChat(SMOLLM2)
        await chat.open()
        assert ticks > 20
        ticks, began = 0, time.perf_counter()
        await chat.complete(Request((Message("user", "The ferry crossed the water. " * 500),), 1))
        assert ticks > (time.perf_counter() - began) * 20  # it would tick 100 times a second if nothing held it up
        ticker.cancel()
        await chat.close()

    asyncio.run(run())


@pytest.mark.slow
@needs_smollm2
def test_the_process_ends_with_its_chat_and_with_its_parent() -> None:
    chat = LocalChat(SMOLLM2)
    asyncio.run(chat.open())
    process = pid(chat)
    assert is_alive(process)
    del chat
    gc.collect()
    assert not is_alive(process)
    script = (
        "import asyncio, os, signal\nfrom memagent.models.local import LocalChat\nchat = LocalChat('smollm2-135m')\n"
        "asyncio.run(chat.open())\nprint(chat._opened._link._process.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    orphan = int(done.stdout)
    for _ in range(100):
        if not is_alive(orphan) or "Z" in Path(f"/proc/{orphan}/stat").read_text().rpartition(")")[2].split()[0]:
            return
        time.sleep(0.1)
    raise AssertionError(f"process {orphan} is still there")


def test_a_process_that_cannot_start_says_its_last_words() -> None:
    link = Link("memagent.no_such_module")
    with pytest.raises(ModelError, match=r"ended with status 1: .*No module named memagent.no_such_module"):
        link.call_and_wait("open")
    link.end()


def test_a_file_beside_the_document_is_not_taken_for_a_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit('shadowed')")
    monkeypatch.chdir(tmp_path)
    link = Link(WORKER)
    with pytest.raises(ModelError) as caught:
        link.call_and_wait("encode", "not opened")  # the worker starts, and fails because it has no pipeline
    assert "shadowed" not in str(caught.value)
    assert "AssertionError" in str(caught.value)
    link.end()


def test_a_failed_step_fails_the_requests_and_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def has_non_finished_requests(self) -> bool:
            return True

        def add_request(self, *arguments: object) -> None:
            return None

        def step(self) -> None:
            raise RuntimeError("in some file\nno memory")

    replies = io.BytesIO()
    worker = Worker(SimpleQueue(), replies)
    monkeypatch.setattr(worker, "_pipeline", SimpleNamespace(batching=Broken()))
    worker._waiting = [_Job(7, [1, 2], None, False)]
    worker._step()
    reply = pickle.loads(replies.getvalue())
    assert (reply.number, str(reply.value)) == (7, "The engine failed: no memory")
    assert not worker._has_work
