"""Take the next items of an iterator in a thread, before they are asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Generic, TypeVar

T = TypeVar("T")

_BATCH = 8
"""Number of items that the thread takes at a time. One by one, waking the thread would cost more than the items do."""


class Prefetch(Iterator[T], Generic[T]):
    """Yields the same items, but takes them up to two batches ahead.

    An exception is raised before the items of its batch are yielded.
    """

    def __init__(self, items: Iterable[T]) -> None:
        self._items = iter(items)
        self._pool = ThreadPoolExecutor(1, "memagent-prefetch")
        self._ready: deque[T] = deque()
        self._coming: Future[list[T]] | None = None
        self._over = False

    def __next__(self) -> T:
        if not self._ready and not self._over:
            coming = self._coming or self._pool.submit(self._take, 1)  # the first item is needed at once
            self._ready.extend(coming.result())
            if self._ready:
                self._coming = self._pool.submit(self._take, _BATCH)
            else:
                self.close()
        if not self._ready:
            raise StopIteration
        return self._ready.popleft()

    def _take(self, many: int) -> list[T]:
        return list(islice(self._items, many))

    def close(self) -> None:
        """Stop taking items. Safe to call twice."""
        self._over = True
        self._pool.shutdown(cancel_futures=True)
        self._ready.clear()
