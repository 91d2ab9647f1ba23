"""Drive readings: complete their requests, wave by wave, until every question has its answer.

Readings of one document stay close together, so that a prefix cache meets the same segment in all their prompts within
a short time. The model says how close (`Chat.lag`). At 0, they read every segment together, and the slowest reply holds
all of them up. With a lag of a few segments, a reading can catch up after a slow reply.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from memagent.core.limits import Limits
from memagent.core.records import Request, Usage
from memagent.errors import LimitReached, WindowOverflow
from memagent.models.chat import Chat
from memagent.runs.asking import Asking
from memagent.runs.watch import Listening, Watch


async def drive(asked: Sequence[Asking], chat: Chat, limits: Limits, watch: Watch) -> None:
    """Complete waves until every question has its answer.

    If a turn fails, all questions stop, once the turns in progress are kept.
    """
    convoy = _Convoy(asked, chat, limits)
    readings = [_read(number, each, chat, watch, convoy) for number, each in enumerate(asked)]
    for result in await asyncio.gather(*readings, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result


async def _read(number: int, asking: Asking, chat: Chat, watch: Watch, convoy: _Convoy) -> None:
    done = False
    try:
        while await convoy.may_go_on(asking):
            listening = Listening(number, watch)
            turns = [_turn(number, asking, part, chat, watch, convoy, listening) for part in list(asking.wanted)]
            try:
                for result in await asyncio.gather(*turns, return_exceptions=True):
                    if isinstance(result, BaseException):
                        raise result
            finally:
                listening.end()
        done = True
    finally:
        convoy.stopped = convoy.stopped or not done
        await convoy.moved()


async def _turn(
    number: int, asking: Asking, part: int, chat: Chat, watch: Watch, convoy: _Convoy, listening: Listening
) -> None:
    request = asking.wanted[part]
    async with convoy.room(request):
        if convoy.stopped:
            return
        try:
            completion = await chat.complete(request, listening.on_text if watch.on_text else None)
        except WindowOverflow as error:
            asking.overflow(error, part)
            return
        turn = asking.finish_turn(completion, part)
    await asking.settle()
    listening.heard()
    watch.on_turn(number, turn)


class _Convoy:
    """Holds back questions that are too far ahead, and stops all questions after a failure or at a limit."""

    def __init__(self, asked: Sequence[Asking], chat: Chat, limits: Limits) -> None:
        self.stopped = False
        self._asked, self._chat, self._limits = asked, chat, limits
        self._coming: dict[object, Usage] = {}  # the most that each call under way can use
        self._slots = asyncio.Semaphore(chat.concurrency)
        self._changed = asyncio.Condition()

    async def may_go_on(self, asking: Asking) -> bool:
        """Wait until a question may go on. Returns False if it has nothing left to do, or something failed."""
        await self.moved()
        async with self._changed:
            await self._changed.wait_for(lambda: self.stopped or not self._too_far(asking))
            return bool(asking.wanted) and not self.stopped

    async def moved(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    @asynccontextmanager
    async def room(self, request: Request) -> AsyncIterator[None]:
        """Wait until the model can take another call, and the call cannot go over the limits.

        Raises:
            LimitReached: the call could go over a limit, even if no other call is under way.
        """
        done = False
        try:
            async with self._slots, self._affordable(request):
                yield
            done = True
        finally:
            self.stopped = self.stopped or not done  # so that calls that wait for room do not begin

    @asynccontextmanager
    async def _affordable(self, request: Request) -> AsyncIterator[None]:
        if not self._limits.any:
            yield
            return
        coming = Usage(self._chat.prompt_tokens(request.messages), request.max_tokens)
        async with self._changed:
            await self._changed.wait_for(lambda: self.stopped or self._fits(coming))
            self._coming[call := object()] = coming
        try:
            yield
        finally:
            async with self._changed:
                del self._coming[call]
                self._changed.notify_all()

    def _fits(self, coming: Usage) -> bool:
        spent = sum((each.usage for each in self._asked), Usage())
        try:
            self._limits.check(spent, sum(self._coming.values(), coming))
        except LimitReached:
            if self._coming:
                return False
            raise
        return True

    def _too_far(self, asking: Asking) -> bool:
        behind = min((each.place for each in self._asked if each.wanted), default=asking.place)
        if asking.place == float("inf"):
            return False  # no request shows a segment
        own = max(each.segment.end - each.segment.start for each in asking.wanted.values() if each.segment)
        return asking.place - behind > self._chat.lag * own
