"""Callbacks that tell a program how a reading is going, and when the model has been silent for long."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from memagent.core.records import Turn

_LOG = logging.getLogger(__name__)

SILENCE = 60.0
"""Seconds without text from the model before the first call of `on_silence`."""


@dataclass(frozen=True, slots=True)
class Watch:
    """Callbacks during a reading. Questions are numbered from 0."""

    on_start: Callable[[int, int, int], None] = lambda characters, turns, read: None
    """Called with the document's characters, the turns that journals already hold, and the characters read in them."""
    on_text: Callable[[int, str], None] | None = None
    """Called with a question's number and the completion as far as it has been written."""
    on_turn: Callable[[int, Turn], None] = lambda question, turn: None
    on_silence: Callable[[int, float], None] = lambda question, seconds: None
    """Called with a question's number and the seconds for which the model has written nothing."""


def harmless(watch: Watch) -> Watch:
    """Return the same Watch, except that errors in callbacks are logged and do not stop a paid reading."""

    def guarded(callback: Callable[..., None]) -> Callable[..., None]:
        def call(*given: Any) -> None:
            try:
                callback(*given)
            except Exception:  # noqa: BLE001 (callbacks are the caller's code)
                _LOG.exception("A callback of a Watch failed; the reading goes on.")

        return call

    return Watch(
        guarded(watch.on_start),
        guarded(watch.on_text) if watch.on_text else None,
        guarded(watch.on_turn),
        guarded(watch.on_silence),
    )


class Listening:
    """Reports when a model has been silent for long, and again each time that the silence has doubled."""

    def __init__(self, number: int, watch: Watch) -> None:
        self._number, self._watch = number, watch
        self._patience, self._since = SILENCE, time.monotonic()
        self._heard = self._since
        self._timer = asyncio.get_running_loop().call_later(SILENCE, self._check)  # a task would cost a tenth of a turn

    def heard(self) -> None:
        self._heard = time.monotonic()

    def on_text(self, text: str) -> None:
        self.heard()
        if self._watch.on_text:
            self._watch.on_text(self._number, text)

    def end(self) -> None:
        self._timer.cancel()

    def _check(self) -> None:
        if self._heard != self._since:
            self._patience, self._since = SILENCE, self._heard
        elif time.monotonic() >= self._heard + self._patience:
            self._watch.on_silence(self._number, self._patience)
            self._patience *= 2
        wait = self._heard + self._patience - time.monotonic()
        self._timer = asyncio.get_running_loop().call_later(max(wait, 0.01), self._check)
