"""Limits of a service."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServiceLimits:
    """The most that clients may ask of a service. None means no limit."""

    readings: int = 16
    """Number of readings under way at the same time."""
    waiting: int = 100
    """Number of readings that one owner may have queued."""
    document_bytes: int = 200 << 20
    """Size of a document."""
    seconds: float | None = None
    """Wall time of a reading, not counting its time in the queue."""
    tokens: int | None = None
    """Tokens of a reading, read and written."""
    patience: float = 30.0
    """Seconds for which a reading goes on after its last client has left."""
    urls: bool = False
    """Whether clients may name documents by URL. Only public addresses are fetched."""
