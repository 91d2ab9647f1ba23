"""Threads for slow work on documents, such as conversions and downloads, shared fairly between owners."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from memagent.serve.slots import Slots

P = ParamSpec("P")
T = TypeVar("T")

_THREADS = 4  # with more of them in use, owners that already have one wait
_OWNERS = 64  # at most this many threads


class Opening:
    """Runs slow work in threads. An owner without a thread gets one even if the others are busy."""

    def __init__(self) -> None:
        self._slots = Slots(_THREADS, one_each=True)
        self._threads = ThreadPoolExecutor(_OWNERS, "memagent-documents")

    async def run(self, owner: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `function` in a thread, and return its result.

        If the caller is cancelled, the thread finishes its work, and a result that can be closed is closed.
        """
        await self._slots.acquire(owner)
        running = asyncio.get_running_loop().run_in_executor(self._threads, partial(function, *args, **kwargs))
        running.add_done_callback(lambda _: self._slots.release(owner))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            running.add_done_callback(_close)
            raise

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _close(running: asyncio.Future[T]) -> None:
    if not running.cancelled() and not running.exception():
        close = getattr(running.result(), "close", None)
        if close:
            close()
