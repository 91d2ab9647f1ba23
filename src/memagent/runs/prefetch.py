"""Take the next items of an iterator in a thread, before they are asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")

_END = object()


class Prefetch(Iterator[T], Generic[T]):
    """Yields the same items, but takes up to `many` ahead. An item's exception is raised when the item is asked for."""

    def __init__(self, items: Iterable[T], many: int = 2) -> None:
        self._items = iter(items)
        self._pool = ThreadPoolExecutor(1, "memagent-prefetch")
        self._coming: deque[Future[object]] = deque()
        self._many = many
        self._over = False

    def __next__(self) -> T:
        if self._over:
            raise StopIteration
        while len(self._coming) <= self._many:
            self._coming.append(self._pool.submit(next, self._items, _END))
        found = self._coming.popleft().result()
        if found is _END:
            self.close()
            raise StopIteration
        return found  # type: ignore[return-value]

    def close(self) -> None:
        """Stop taking items. Safe to call twice."""
        self._over = True
        self._pool.shutdown(cancel_futures=True)
        self._coming.clear()
