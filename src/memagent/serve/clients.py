"""The client behind a request: who it is, whether it is still there, and how to keep it waiting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from typing import Any

from fastapi import Request
from fastapi.responses import Response

KEEP_ALIVE_SECONDS = 10.0
"""Seconds after which a stream says that it is still alive."""

_GONE = 499  # nginx's status for a client that closed the connection; nobody receives it


def owner_of(request: Request) -> str:
    """Return who sends the request, as the guard found out."""
    owner: str = request.scope["memagent.owner"]
    return owner


async def present(request: Request, reply: Coroutine[Any, Any, Response]) -> Response:
    """Return the reply, or cancel it when the client goes away."""
    replying = asyncio.create_task(reply)
    leaving = asyncio.create_task(_leaves(request))
    try:
        await asyncio.wait([replying, leaving], return_when=asyncio.FIRST_COMPLETED)
        return replying.result() if replying.done() else Response(status_code=_GONE)
    finally:
        replying.cancel()
        leaving.cancel()
        await asyncio.wait([replying, leaving])


async def _leaves(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def with_patience(news: AsyncIterator[None], seconds: float = KEEP_ALIVE_SECONDS) -> AsyncGenerator[None]:
    """Yield whenever there is news, and at least every so many seconds."""
    waiting: asyncio.Task[None] | None = None
    try:
        while True:
            waiting = waiting or asyncio.create_task(_next(news))
            done, _ = await asyncio.wait([waiting], timeout=seconds)
            if done:
                try:
                    waiting.result()
                except StopAsyncIteration:
                    return
                waiting = None
            yield
    finally:
        if waiting:
            waiting.cancel()
            await asyncio.wait([waiting])


async def _next(news: AsyncIterator[None]) -> None:
    await anext(news)
