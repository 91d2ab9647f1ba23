"""Styles of memory: in the model's own words, or quotes.

Readers that stop early, read again or read out of order take a Style, so that each works with every style of memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from memagent.core.budget import Budget
from memagent.core.prompts import NO_MEMORY, NOTHING, Prompts
from memagent.core.records import Segment
from memagent.readers import choose, collect, extract, gated
from memagent.readers.check import Checking, check, try_answer
from memagent.readers.halving import Memorize, Steps
from memagent.readers.merge import merge
from memagent.readers.quotes import in_document_order


@dataclass(frozen=True, slots=True)
class Style:
    """The functions that read a segment, merge memories and check a memory, for one style of memory."""

    empty: str
    """Memory before the first segment, and as long as no segment has anything to keep."""
    memorize: Memorize
    merge: Callable[[str, str, Sequence[str], Segment, Budget, Prompts], Steps]
    """Merges a memory, and the memories that `memorize` made from it, into one. See `memagent.readers.merge`."""
    check: Callable[[str, str, Budget, Prompts], Checking]
    ordered: Callable[[str, Sequence[Segment]], str] = lambda memory, read: memory
    """Puts the quotes of a memory in the order of the document, given the segments that were read. A memory in the
    model's own words stays as it is."""


WORDS = Style(NO_MEMORY, gated.memorize, merge, check)
EXTRACT = Style(NOTHING, extract.memorize, choose.merge, try_answer, in_document_order)
COLLECT = Style(NOTHING, collect.memorize, choose.merge, try_answer, in_document_order)
