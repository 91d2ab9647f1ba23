"""Drive readings: complete what they ask for, wave by wave, until every question has its answer.

Readings of one document advance in step, because an engine with a prefix cache then meets the same segment in all
prompts at the same time: in each round, those that are furthest behind in the document take a wave.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from memagent.core.limits import Limits
from memagent.core.records import Request, Usage
from memagent.errors import WindowOverflow
from memagent.models.chat import Chat
from memagent.runs.asking import Asking
from memagent.runs.watch import Listening, Watch


async def drive(asked: Sequence[Asking], chat: Chat, limits: Limits, watch: Watch) -> None:
    """Waves, until every question has its answer. A failed turn stops all, after the others' were kept."""
    while waiting := [each for each in asked if each.wanted]:
        place = min(each.place for each in waiting)
        behind = [(number, each) for number, each in enumerate(asked) if each.wanted and each.place == place]
        if limits.any:
            limits.check(sum((each.usage for each in asked), Usage()), _coming((each for _, each in behind), chat))
        turns = [_turn(number, each, part, chat, watch) for number, each in behind for part in list(each.wanted)]
        for result in await asyncio.gather(*turns, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result


async def _turn(number: int, asking: Asking, part: int, chat: Chat, watch: Watch) -> None:
    listening = Listening(number, watch)
    try:
        completion = await chat.complete(asking.wanted[part], listening.on_text if watch.on_text else None)
    except WindowOverflow as error:
        asking.overflow(error, part)
    else:
        watch.on_turn(number, asking.finish_turn(completion, part))
    finally:
        listening.end()


def _coming(asked: Iterable[Asking], chat: Chat) -> Usage:
    """The most that the next turns can take."""
    requests: list[Request] = [request for each in asked for request in each.wanted.values()]
    return Usage(
        sum(chat.prompt_tokens(request.messages) for request in requests),
        sum(request.max_tokens for request in requests),
    )
