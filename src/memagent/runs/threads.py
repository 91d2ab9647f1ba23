"""Run work in a thread, so that the event loop keeps running."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_THREAD = ThreadPoolExecutor(1, "memagent")
"""One thread, because this work is CPU-bound: with several threads, the event loop would wait for all of them at every
system call."""


async def off_the_loop(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call `function` in the thread for CPU-bound work, and return its result.

    If the caller is cancelled, this still waits for the thread, which may be using files that the caller will close.
    """
    return await in_a_thread_of(_THREAD, function, *args, **kwargs)


async def in_a_thread_of(executor: Executor | None, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do the same as `off_the_loop`, in a thread of `executor`; None for the event loop's own threads."""
    running = asyncio.get_running_loop().run_in_executor(executor, partial(function, *args, **kwargs))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise
