"""A time limit for a download, which ends it even while the server keeps sending a byte now and then."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from math import inf
from typing import Any, Self


class Deadline:
    """Shuts down the connections of an httpx2 request when its time has passed.

    Args:
        seconds: time from entering the context; inf for no limit.
    """

    def __init__(self, seconds: float) -> None:
        self.passed = False
        self._sockets: list[socket.socket] = []
        self._timer = None if seconds == inf else threading.Timer(seconds, self._pass)

    def __enter__(self) -> Self:
        if self._timer:
            self._timer.daemon = True
            self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._timer:
            self._timer.cancel()
        for each in self._sockets:
            each.close()

    def trace(self, event: str, info: dict[str, Any]) -> None:
        """Note a new connection. This is httpx2's "trace" extension."""
        if event == "connection.connect_tcp.complete":
            # A copy, because TLS replaces the socket.
            self._sockets.append(info["return_value"].get_extra_info("socket").dup())
            if self.passed:
                self._pass()

    def _pass(self) -> None:
        self.passed = True
        for each in list(self._sockets):
            with suppress(OSError):  # it is closed already
                each.shutdown(socket.SHUT_RDWR)
