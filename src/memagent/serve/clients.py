"""The client behind a request: its owner, whether it is still connected, and how to keep its connection alive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from typing import Any

from fastapi import Request
from fastapi.responses import Response

KEEP_ALIVE_SECONDS = 10.0
"""Seconds without news after which a stream sends a keep-alive."""

_GONE = 499  # nginx's status for a client that closed the connection; nobody receives it


def owner_of(request: Request) -> str:
    """Return the owner of the request, which the guard has set."""
    owner: str = request.scope["memagent.owner"]
    return owner


async def present(request: Request, reply: Coroutine[Any, Any, Response]) -> Response:
    """Return the reply, or cancel it when the client disconnects."""
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
    """Yield whenever there is news, and at least once every `seconds` seconds."""
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
