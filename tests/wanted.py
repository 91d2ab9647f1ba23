"""What a reading under way waits for, where it asks for one thing at a time."""

from __future__ import annotations

from memagent.core.reading import Underway
from memagent.core.records import Request


def wanted(under: Underway) -> Request:
    [request] = under.wanted.values()
    return request
