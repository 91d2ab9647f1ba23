"""Run a real service on a local port, with a model that reads the keeper's text perfectly."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import keeper

from memagent.core.budget import Budget
from memagent.core.records import Completion, Request
from memagent.models.chat import Chat, OnText
from memagent.models.scripted import Reply, ScriptedChat
from memagent.serve.server import Doors, Server, opened
from memagent.serve.service import Service
from memagent.serve.service_limits import ServiceLimits

BUDGET = Budget(question=600, segment=1500, memory=500, answer=300)
WINDOW = 6000
"""Context window in tokens; here, a token is a byte."""


def short_or_perfect(request: Request) -> str:
    """Reply to a direct prompt with two sentences, and to all other prompts as a perfect reader does."""
    return "A short reply. The end." if request.kind == "direct" else keeper.perfect(request)


class SlowChat(ScriptedChat):
    """A perfect reader that waits at a gate before each reply, and counts its calls."""

    left = -1
    """Number of calls until the gate closes again; negative for never."""

    def __init__(self, reply: Reply = short_or_perfect, *, window: int = WINDOW, concurrency: int = 16) -> None:
        super().__init__(reply, window=window)
        self.gate = asyncio.Event()
        self.concurrency = concurrency
        self.most = self.now = 0

    def let(self, calls: int) -> None:
        """Let this many calls through the gate."""
        self.left = calls
        self.gate.set()

    async def complete(self, request: Request, on_text: OnText | None = None) -> Completion:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await self.gate.wait()
            self.left -= 1
            if not self.left:
                self.gate.clear()
            return await super().complete(request, on_text)
        finally:
            self.now -= 1


def perfect_chat(reply: Reply = short_or_perfect, window: int = WINDOW) -> ScriptedChat:
    return ScriptedChat(reply, window=window)


@dataclass
class Served:
    """A running service, and a client for it."""

    url: str
    client: httpx2.Client
    service: Service
    loop: asyncio.AbstractEventLoop

    def call(self, function: Callable[[], object]) -> None:
        """Schedule a call of a function on the service's event loop."""
        self.loop.call_soon_threadsafe(function)


@contextmanager
def serving(
    folder: Path,
    chat: Chat | None = None,
    *,
    doors: Doors | None = None,
    limits: ServiceLimits | None = None,
    reader: str | None = None,
    headers: Sequence[tuple[str, str]] = (),
) -> Iterator[Served]:
    """Run a service on a free port, in a thread."""
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    ready, ending = threading.Event(), threading.Event()
    failed: list[BaseException] = []
    made: list[tuple[Service, asyncio.AbstractEventLoop]] = []

    async def run() -> None:
        service = Service(chat or perfect_chat(), folder, budget=BUDGET, reader=reader, limits=limits)
        made.append((service, asyncio.get_running_loop()))
        async with opened(service, doors or Doors()) as app:
            server = Server(app, service)
            server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
            task = asyncio.create_task(server._serve(sockets=[listener]))
            while not server.started:
                await asyncio.sleep(0.01)
            ready.set()
            await asyncio.to_thread(ending.wait)
            server.should_exit = True
            await task

    def target() -> None:
        try:
            asyncio.run(run())
        except BaseException as error:  # noqa: BLE001 (raised again in the test's thread)
            failed.append(error)
            ready.set()

    thread = threading.Thread(target=target)
    thread.start()
    ready.wait(30)
    try:
        if failed:
            raise failed[0]
        with httpx2.Client(base_url=url, headers=list(headers), timeout=30) as client:
            yield Served(url, client, *made[0])
    finally:
        ending.set()
        thread.join(30)
        listener.close()
