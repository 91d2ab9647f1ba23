"""Readings that are killed again and again."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

from memagent import Answer, Request


class Dies(BaseException):
    """Stands for a kill: no code catches it."""


def read_with_kills(
    ask: Callable[[Callable[[Request], str]], Answer], reply: Callable[[Request], str], draw: random.Random
) -> tuple[Answer, Counter[Request]]:
    """Ask until there is an answer, with a kill after one to five replies each time.

    Returns:
        The answer, and how often each request got a reply.
    """
    replied: Counter[Request] = Counter()
    for _ in range(500):
        left = draw.randrange(1, 6)

        def dying(asked: Request) -> str:
            nonlocal left
            left -= 1
            if left < 0:
                raise Dies
            replied[asked] += 1
            return reply(asked)

        try:
            return ask(dying), replied
        except Dies:
            continue
    raise AssertionError("The reading makes no progress.")
