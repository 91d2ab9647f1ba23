"""Read a text of any length with a model of any window: segment by segment, into one memory."""

from __future__ import annotations

__version__ = "0.1.0"
