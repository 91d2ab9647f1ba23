"""A queue that serves owners in turn, so that one owner with many requests does not keep the others waiting."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from memagent.core.records import Completion, Message, Request
from memagent.models.chat import Chat, OnText


class Slots:
    """A fixed number of slots.

    A free slot goes to the owner that holds the fewest. Among equals, it goes to the owner that has waited longest.

    Args:
        one_each: whether an owner without a slot gets one even if none is free.
    """

    def __init__(self, number: int, one_each: bool = False) -> None:
        self._free, self._one_each = number, one_each
        self._used: Counter[str] = Counter()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}  # owners in the order of their last turn

    @asynccontextmanager
    async def take(self, owner: str) -> AsyncIterator[None]:
        """Wait for a slot, and release it at the end."""
        await self.acquire(owner)
        try:
            yield
        finally:
            self.release(owner)

    async def acquire(self, owner: str) -> None:
        """Wait for a slot."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(owner, deque()).append(turn)
        self._hand_out()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release(owner)
            else:
                self._leave(owner, turn)
            raise

    def release(self, owner: str) -> None:
        """Give back a slot of the owner."""
        self._free += 1
        self._used[owner] -= 1
        if not self._used[owner]:
            del self._used[owner]
        self._hand_out()

    def waiting(self, owner: str) -> int:
        """Return how many of an owner's requests are waiting for a slot."""
        return len(self._waiting.get(owner, ()))

    def free(self, owner: str) -> bool:
        """Return whether the owner would get a slot at once."""
        return self._free > 0 or (self._one_each and not self._used[owner])

    def _hand_out(self) -> None:
        while self._waiting:
            owner = min(self._waiting, key=lambda each: self._used[each])
            if not self.free(owner):
                return
            queue = self._waiting.pop(owner)
            turn = queue.popleft()
            if queue:
                self._waiting[owner] = queue  # at the end: the other owners come first
            if not turn.done():
                self._free -= 1
                self._used[owner] += 1
                turn.set_result(None)

    def _leave(self, owner: str, turn: asyncio.Future[None]) -> None:
        queue = self._waiting.get(owner)
        if queue and turn in queue:
            queue.remove(turn)
            if not queue:
                del self._waiting[owner]


class SharedChat:
    """A Chat that one owner shares with others. The service opens and closes the Chat.

    Args:
        slots: one slot for each call that the model takes at the same time.
    """

    def __init__(self, chat: Chat, slots: Slots, owner: str) -> None:
        self._chat, self._slots, self._owner = chat, slots, owner
        self.model, self.window, self.sampling, self.defaults = chat.model, chat.window, chat.sampling, chat.defaults
        self.tokenizer, self.concurrency, self.lag = chat.tokenizer, chat.concurrency, chat.lag

    @property
    def warnings(self) -> Sequence[str]:
        return self._chat.warnings

    async def open(self) -> None:
        pass

    def prompt_tokens(self, messages: Sequence[Message]) -> int:
        return self._chat.prompt_tokens(messages)

    async def complete(self, request: Request, on_text: OnText | None = None) -> Completion:
        async with self._slots.take(self._owner):
            return await self._chat.complete(request, on_text)

    async def close(self) -> None:
        pass
