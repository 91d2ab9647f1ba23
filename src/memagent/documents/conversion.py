"""The result of converting a document to a text file."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Conversion:
    pages: tuple[int, ...] = ()
    """Character offset where each page starts; () if there are no pages."""
    warnings: tuple[str, ...] = ()
    """Messages about content that is missing from the text, one sentence each."""
