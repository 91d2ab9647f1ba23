"""Shows a running benchmark on stderr: a bar with the examples read, the failures and the time left.

If stderr is not a terminal, prints a plain line at most every five seconds.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from memagent.bench.results import Result
from memagent.bench.running import Progress
from memagent.cli.terminal import Terminal

_EVERY = 5.0  # seconds


@contextmanager
def watching(silent: bool, console: Console | None = None) -> Iterator[Progress]:
    """Yield a Progress that shows itself, or one that shows nothing if `silent`."""
    if silent:
        yield Progress()
        return
    screen = _Screen(console or Terminal(stderr=True))
    with screen.bar:
        yield Progress(screen.on_start, screen.on_turn, screen.on_result, screen.on_note)


class _Screen:
    def __init__(self, console: Console) -> None:
        self.bar = Bar(
            TextColumn("{task.fields[facts]}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(), TextColumn("{task.fields[left]}"),
            console=console, transient=True, disable=not console.is_terminal,
        )  # fmt: skip
        self._task = self.bar.add_task("bench", total=None, facts="loading the model", left="")
        self._console = console
        self._examples = self._done = self._failed = 0
        self._work = self._worked = 0
        self._said = self._began = time.perf_counter()

    def on_start(self, examples: int, done: int, work: int) -> None:
        self._examples, self._done, self._work = examples, done, work
        self._began = time.perf_counter()
        self.bar.update(self._task, total=max(work, 1), facts=self._facts())
        if done and not self._console.is_terminal:
            self._console.print(f"{done:,} of {examples:,} are done already", highlight=False)

    def on_turn(self, tokens: int) -> None:
        self._advance(tokens)

    def on_note(self, sentence: str) -> None:
        self._console.print(sentence, highlight=False, soft_wrap=True)

    def on_result(self, result: Result, tokens: int) -> None:
        self._done += 1
        self._failed += result.status == "failed"
        self._advance(tokens)

    def _advance(self, tokens: int) -> None:
        self._worked += tokens
        now = time.perf_counter()
        # The mean since the start, because examples of many tokens end at long intervals.
        seconds = (self._work - self._worked) * (now - self._began) / max(self._worked, 1)
        left = f"about {max(seconds, 0) / 60:,.1f} minutes left"
        self.bar.update(self._task, completed=min(self._worked, self._work), facts=self._facts(), left=left)
        if not self._console.is_terminal and now - self._said >= _EVERY:
            self._said = now
            self._console.print(f"{self._facts()}, {left}", highlight=False)

    def _facts(self) -> str:
        failed = f", {self._failed:,} failed" if self._failed else ""
        return f"{self._done:,} of {self._examples:,} read{failed}"
