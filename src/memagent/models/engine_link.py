"""A connection to a process that answers calls. Both sides send pickled objects over the process's stdin and stdout.

One thread writes and another reads, so that a full pipe or a busy process does not hold up the event loop.
"""

from __future__ import annotations

import asyncio
import itertools
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from threading import Thread, current_thread
from typing import Any

from memagent.errors import ModelError

CANCEL = "cancel"
"""Name of the message that cancels a call. It is sent with the number of that call."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A message from the process: the result of a call, an exception to raise, or, if not `last`, the text so far."""

    number: int
    value: Any
    last: bool
    busy: float
    """Seconds spent in the pipeline so far."""


@dataclass(frozen=True, slots=True)
class _Call:
    future: Future[Any]
    on_text: Callable[[str], None] | None


class Link:
    """Starts `python -m MODULE`, sends it calls, and gives each reply to its caller."""

    def __init__(self, module: str) -> None:
        self.busy = 0.0
        """Seconds that the process was busy, as it last reported."""
        self._calls: dict[int, _Call] = {}
        self._numbers = itertools.count()
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  lives as long as the process
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", module],  # -P: Python must not import files from the user's folder
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            start_new_session=True,  # so that Ctrl-C does not reach it
        )
        self._writer = ThreadPoolExecutor(1)
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    async def call(self, name: str, *values: Any, on_text: Callable[[str], None] | None = None) -> Any:
        """Call `name` in the process and return its result. If this is cancelled, the process cancels the call, too."""
        number, future = next(self._numbers), Future[Any]()
        loop = asyncio.get_running_loop()

        def show(text: str) -> None:
            assert on_text is not None
            try:
                if not future.done():
                    on_text(text)
            except Exception as error:  # noqa: BLE001  the caller's own code raised it, so the caller gets it
                _settle(future, error)

        def from_thread(text: str) -> None:
            with suppress(RuntimeError):  # the loop is closed, so nobody is waiting
                loop.call_soon_threadsafe(show, text)

        self._send(number, name, *values, on_text is not None, call=_Call(future, from_thread))
        try:
            return await asyncio.wrap_future(future)
        finally:
            if self._calls.pop(number, None):
                self._send(number, CANCEL)

    def call_and_wait(self, name: str, *values: Any) -> Any:
        """Call `name` in the process, block until it replies, and return the result."""
        future = Future[Any]()
        self._send(next(self._numbers), name, *values, False, call=_Call(future, None))
        return future.result()

    def end(self) -> None:
        """Kill the process, and release its threads and files."""
        self._process.kill()
        self._writer.shutdown(wait=False, cancel_futures=True)
        if current_thread() is not self._reader:  # the garbage collector may call this from any thread
            self._reader.join()
        for stream in (self._process.stdin, self._process.stdout, self._said):
            with suppress(OSError):  # the process is gone, so pending output cannot be flushed
                stream.close()  # type: ignore[union-attr]

    def _send(self, number: int, name: str, *values: Any, call: _Call | None = None) -> None:
        if call:
            self._calls[number] = call
        self._writer.submit(self._write, pickle.dumps((number, name, *values)))

    def _write(self, message: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(message)
            self._process.stdin.flush()
        except OSError:
            self._reader.join()
            self._fail_all()

    def _read(self) -> None:
        assert self._process.stdout is not None
        while True:
            try:
                reply: Reply = pickle.load(self._process.stdout)
            except (EOFError, pickle.UnpicklingError):
                break
            self.busy = reply.busy
            call = self._calls.pop(reply.number, None) if reply.last else self._calls.get(reply.number)
            if call and reply.last:
                _settle(call.future, reply.value)
            elif call and call.on_text:
                call.on_text(reply.value)
        self._process.wait()
        self._fail_all()

    def _fail_all(self) -> None:
        for number in list(self._calls):
            if call := self._calls.pop(number, None):
                _settle(call.future, ModelError(self._last_words()))

    def _last_words(self) -> str:
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").split("\n")
        said = next((f": {line.strip()}" for line in reversed(lines) if line.strip()), "")
        return f"The engine's process ended with status {self._process.returncode}{said}."


def _settle(future: Future[Any], value: Any) -> None:
    """Give a future its result or exception, unless it already has one or was cancelled."""
    with suppress(InvalidStateError):
        if isinstance(value, BaseException):
            future.set_exception(value)
        else:
            future.set_result(value)
