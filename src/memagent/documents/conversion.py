"""What became of a document that was converted to a text file."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Conversion:
    pages: tuple[int, ...] = ()
    """The character offset where each page starts; () where there are no pages."""
    warnings: tuple[str, ...] = ()
    """What of it is not in the text, a sentence each."""
