"""Begin readings at the first segment, or where their journals end.

All readings of a document share the same segments. If there are journals, the document is cut as in the journals, and
cut anew after the end of the journal that is furthest ahead.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing

from memagent.core.budget import Budget
from memagent.core.prompts import Prompts
from memagent.core.reading import Reader
from memagent.core.records import Segment
from memagent.core.segments import Cut, segments
from memagent.core.tokenizer import Tokenizer
from memagent.documents import Document
from memagent.runs.asking import Asking, Pieces
from memagent.runs.journal import Journal
from memagent.runs.journal_lines import Span
from memagent.runs.prefetch import Prefetch


def begin(
    questions: Sequence[str],
    document: Document,
    journals: Sequence[Journal | None],
    tokenizer: Tokenizer,
    budget: Budget,
    prompts: Prompts,
    cut: Cut,
    reader: Reader,
    stack: ExitStack,
) -> list[Asking]:
    """Begin each question at the first turn that its journal does not hold. Closing the `stack` ends the cutting."""
    read = [cutting(journal.spans) if journal else [] for journal in journals]
    furthest = max(read, key=lambda spans: spans[-1][1] if spans else 0)
    last = furthest[-1][1] if furthest else 0
    fresh = segments(_Cursor(document).after(last), budget.segment, tokenizer, cut, last)
    if tokenizer.exact:  # with estimates, each reply corrects the next cut
        fresh = stack.enter_context(closing(Prefetch(fresh)))
    asked = []
    for question, journal, own, shared in zip(
        questions, journals, read, itertools.tee(fresh, len(questions)), strict=True
    ):
        end = own[-1][1] if own else 0
        known = [*own, *(span for span in furthest if span[0] >= end)]
        pieces = Pieces(itertools.chain(_pieces(document, known), shared))
        asked.append(Asking(question, reader(question, pieces, budget, prompts), pieces, journal))
    return asked


def cutting(spans: Iterable[Span]) -> list[Span]:
    """Return the segments among a journal's spans, in the order of the document and without halves."""
    found: list[Span] = []
    for start, end, tokens in sorted(set(spans), key=lambda span: (span[0], -span[1])):
        if not found or end > found[-1][1]:
            found.append((start, end, tokens))
    return found


def _pieces(document: Document, spans: Sequence[Span]) -> Iterator[Segment]:
    cursor = _Cursor(document)
    for start, end, tokens in spans:
        cursor.skip(start)
        yield Segment(start, end, cursor.take(end), tokens)


class _Cursor:
    """Moves forward through a document's text by character offsets."""

    def __init__(self, document: Document) -> None:
        self._chunks = document.chunks()
        self._held = ""
        self._place = 0  # of the held text in the document

    def skip(self, end: int) -> None:
        while self._place + len(self._held) < end:
            self._place, self._held = self._place + len(self._held), next(self._chunks, "")
            if not self._held:
                return
        self.take(end)

    def take(self, end: int) -> str:
        """Return the text up to `end`."""
        parts, length = [self._held], len(self._held)
        while self._place + length < end and (chunk := next(self._chunks, "")):
            parts.append(chunk)
            length += len(chunk)
        text = "".join(parts)
        wanted = end - self._place
        self._held, self._place = text[wanted:], end
        return text[:wanted]

    def after(self, end: int) -> Iterator[str]:
        """Yield all text after `end`."""
        self.skip(end)
        yield self._held
        yield from self._chunks
