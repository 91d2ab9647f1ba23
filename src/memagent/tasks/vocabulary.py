"""The words of needles: `adjective-noun` keys, seven-digit numbers, and uuids. The words come from wonderwords."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from functools import cache


@cache
def _words(category: str) -> list[str]:
    from wonderwords import RandomWord

    found = RandomWord().filter(include_categories=[category], exclude_with_spaces=True)
    return sorted(set(found))


def nouns_adjectives_verbs() -> list[str]:
    """Return all nouns, adjectives and verbs, sorted."""
    return sorted({word for category in ("noun", "adjective", "verb") for word in _words(category)})


def adjective(draw: random.Random) -> str:
    return draw.choice(_words("adjective"))


def noun(draw: random.Random) -> str:
    return draw.choice(_words("noun"))


def words(draw: random.Random) -> str:
    return f"{adjective(draw)}-{noun(draw)}"


def numbers(draw: random.Random) -> str:
    return str(draw.randint(1_000_000, 9_999_999))


def uuids(draw: random.Random) -> str:
    return str(uuid.UUID(int=draw.getrandbits(128), version=4))


KINDS: dict[str, Callable[[random.Random], str]] = {"words": words, "numbers": numbers, "uuids": uuids}


def distinct(make: Callable[[random.Random], str], many: int, draw: random.Random) -> list[str]:
    """Return this many different strings drawn by `make`."""
    found: dict[str, None] = {}
    while len(found) < many:
        found[make(draw)] = None
    return list(found)
