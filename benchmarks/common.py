"""Code that the benchmarks share: texts, clocks, and printing of figures."""

from __future__ import annotations

import gzip
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from memagent.tasks.lighthouses import make_demo

BOOKS = Path(__file__).parents[2] / "shared" / "data" / "books"


def text(characters: int, book: str = "war-and-peace") -> str:
    """Return the beginning of a real book if it is at hand and long enough, else generated prose."""
    path = BOOKS / f"{book}.txt.gz"
    if path.is_file():
        found = gzip.decompress(path.read_bytes()).decode()
        if len(found) >= characters:
            return found[:characters]
    return make_demo(characters).document[:characters]


def figure(name: str, value: str, goal: str = "") -> None:
    print(f"{name:<58} {value:<30} {goal}", flush=True)


@contextmanager
def clock() -> Iterator[list[float]]:
    """`with clock() as seconds: …` puts the wall time into seconds[0]."""
    seconds = [0.0]
    began = time.perf_counter()
    yield seconds
    seconds[0] = time.perf_counter() - began
