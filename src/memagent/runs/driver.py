"""Drive readings: complete their requests, wave by wave, until every question has its answer.

Readings of one document stay close together, so that a prefix cache meets the same segment in all their prompts within
a short time. The model says how close (`Chat.lag`). At 0, they read every segment together, and the slowest reply holds
all of them up. With a lag of a few segments, a reading can catch up after a slow reply.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from memagent.core.limits import Limits
from memagent.core.records import Usage
from memagent.errors import WindowOverflow
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
            turns = [_turn(number, asking, part, chat, watch) for part in list(asking.wanted)]
            for result in await asyncio.gather(*turns, return_exceptions=True):
                if isinstance(result, BaseException):
                    raise result
        done = True
    finally:
        convoy.stopped = convoy.stopped or not done
        await convoy.moved(asking)


async def _turn(number: int, asking: Asking, part: int, chat: Chat, watch: Watch) -> None:
    listening = Listening(number, watch)
    try:
        completion = await chat.complete(asking.wanted[part], listening.on_text if watch.on_text else None)
    except WindowOverflow as error:
        asking.overflow(error, part)
    else:
        turn = asking.finish_turn(completion, part)
        await asking.settle()
        watch.on_turn(number, turn)
    finally:
        listening.end()


class _Convoy:
    """Holds back questions that are too far ahead, and stops all questions after a failure or at a limit."""

    def __init__(self, asked: Sequence[Asking], chat: Chat, limits: Limits) -> None:
        self.stopped = False
        self._asked, self._chat, self._limits = asked, chat, limits
        self._coming: dict[int, Usage] = {}  # the most that the wave of each question under way can use
        self._changed = asyncio.Condition()

    async def may_go_on(self, asking: Asking) -> bool:
        """Wait until a question may go on. Returns False if it has nothing left to do, or something failed."""
        await self.moved(asking)
        async with self._changed:
            await self._changed.wait_for(lambda: self.stopped or not self._too_far(asking))
            if self.stopped or not asking.wanted:
                return False
            if self._limits.any:
                coming = _most(asking, self._chat)
                spent = sum((each.usage for each in self._asked), Usage())
                self._limits.check(spent, sum(self._coming.values(), coming))
                self._coming[id(asking)] = coming
            return True

    async def moved(self, asking: Asking) -> None:
        async with self._changed:
            self._coming.pop(id(asking), None)
            self._changed.notify_all()

    def _too_far(self, asking: Asking) -> bool:
        behind = min((each.place for each in self._asked if each.wanted), default=asking.place)
        if asking.place == float("inf"):
            return False  # the answer shows no segment
        own = max(each.segment.end - each.segment.start for each in asking.wanted.values() if each.segment)
        return asking.place - behind > self._chat.lag * own


def _most(asking: Asking, chat: Chat) -> Usage:
    """Return the most tokens that a question's wave can use."""
    requests = asking.wanted.values()
    return Usage(
        sum(chat.prompt_tokens(request.messages) for request in requests),
        sum(request.max_tokens for request in requests),
    )
