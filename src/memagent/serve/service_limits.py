"""Limits of a service."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServiceLimits:
    """Limits for the clients of a service. None means no limit."""

    readings: int = 16
    """Maximum number of readings in progress at the same time."""
    waiting: int = 100
    """Maximum number of readings that one owner may have in the queue."""
    document_bytes: int = 200 << 20
    """Maximum size of a document, in bytes."""
    seconds: float | None = None
    """Maximum seconds of a reading, not counting its time in the queue."""
    tokens: int | None = None
    """Maximum tokens of a reading, in its prompts and completions together."""
    patience: float = 30.0
    """Seconds for which a reading continues after its last client has left."""
    days: float | None = None
    """Days after which readings that have ended, and documents that nothing else needs, are removed."""
    urls: bool = False
    """Whether clients may name documents by URL. Only public addresses are fetched."""
