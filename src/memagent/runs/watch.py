"""What a program sees of a reading while it goes on, and that a model has been silent for long."""

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
"""Seconds without a word from the model before that is said."""


@dataclass(frozen=True, slots=True)
class Watch:
    """Callbacks while reading. The number of a question counts from 0."""

    on_start: Callable[[int, int, int], None] = lambda characters, turns, read: None
    """Characters in the document; turns that journals already hold, and characters read in them."""
    on_text: Callable[[int, str], None] | None = None
    """The completion in progress, as far as it has been written."""
    on_turn: Callable[[int, Turn], None] = lambda question, turn: None
    on_silence: Callable[[int, float], None] = lambda question, seconds: None
    """The model has written nothing for so many seconds."""


def harmless(watch: Watch) -> Watch:
    """The same Watch, except that an error in a callback is logged and does not stop what is paid for."""

    def guarded(callback: Callable[..., None]) -> Callable[..., None]:
        def call(*given: Any) -> None:
            try:
                callback(*given)
            except Exception:  # noqa: BLE001 (it is the code of whoever calls us)
                _LOG.exception("A callback of a Watch failed; the reading goes on.")

        return call

    return Watch(
        guarded(watch.on_start),
        guarded(watch.on_text) if watch.on_text else None,
        guarded(watch.on_turn),
        guarded(watch.on_silence),
    )


class Listening:
    """Says when a model has been silent for long, and again each time that the silence has doubled."""

    def __init__(self, number: int, watch: Watch) -> None:
        self._number, self._watch = number, watch
        self._heard = time.monotonic()
        self._task = asyncio.create_task(self._listen())

    def on_text(self, text: str) -> None:
        self._heard = time.monotonic()
        if self._watch.on_text:
            self._watch.on_text(self._number, text)

    def end(self) -> None:
        self._task.cancel()

    async def _listen(self) -> None:
        patience, heard = SILENCE, self._heard
        while True:
            await asyncio.sleep(max(heard + patience - time.monotonic(), 0.01))
            if heard != self._heard:
                patience, heard = SILENCE, self._heard
            elif time.monotonic() >= heard + patience:
                self._watch.on_silence(self._number, patience)
                patience *= 2
