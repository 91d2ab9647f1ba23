"""The request that a reading waits for, if it asks for one at a time."""

from __future__ import annotations

from memagent.core.reading import Underway
from memagent.core.records import Request


def wanted(under: Underway) -> Request:
    [request] = under.wanted.values()
    return request
