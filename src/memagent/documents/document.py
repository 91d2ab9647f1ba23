"""Read several texts as one, joined by blank lines, and map places in the joined text back to the sources."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from memagent.documents.sources import Source, Spool
from memagent.documents.text_file import TextFile

_BETWEEN = "\n\n"


@dataclass(frozen=True, slots=True)
class Part:
    """The place of one source in the joined text: its text is `joined[start:end]`."""

    name: str
    start: int
    end: int
    pages: tuple[int, ...]
    """Character offset inside this part where each page starts; () if the source has no pages."""


class Document:
    """Several sources read as one text. `parts` has the place of each source, `length` is the number of characters."""

    def __init__(self, texts: Sequence[TextFile], spool: Spool, warnings: Sequence[str] = ()) -> None:
        self.sources: tuple[Source, ...] = tuple(text.source for text in texts)
        self.parts: tuple[Part, ...] = tuple(_laid_out(texts))
        self.length = self.parts[-1].end
        self.warnings: tuple[str, ...] = (*warnings, *(each for text in texts for each in text.warnings))
        """Messages about content that could not be read, one sentence each."""
        self._texts = texts
        self._spool = spool

    def chunks(self) -> Iterator[str]:
        """Yield the joined text piece by piece. Every call starts from the beginning."""
        for number, text in enumerate(self._texts):
            if number:
                yield _BETWEEN
            yield from text.chunks()

    def close(self) -> None:
        """Remove the temporary files. `chunks` may fail afterwards."""
        self._spool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _laid_out(texts: Sequence[TextFile]) -> Iterator[Part]:
    start = 0
    for text in texts:
        end = start + sum(len(chunk) for chunk in text.chunks())
        yield Part(text.source.name, start, end, text.pages)
        start = end + len(_BETWEEN)


@dataclass(frozen=True, slots=True)
class Located:
    """A place that a person can look up: characters `start` to `end` of one document, and its page if it has pages."""

    name: str
    start: int
    end: int
    page: int | None = None


def locate(parts: Sequence[Part], start: int, end: int) -> Located:
    """Find the document, the characters and the page (counted from 1) of a span of the joined text.

    The span is clipped to the part that contains `start`. The blank line between two parts belongs to the next part.

    Raises:
        ValueError: the span lies outside the parts.
    """
    index = bisect_right(parts, start, key=lambda part: part.start) - 1
    if index < 0 or start > parts[-1].end:
        raise ValueError(f"There is no character {start} in the document.")
    part = parts[index]
    if start >= part.end and index + 1 < len(parts):
        part = parts[index + 1]
    first = max(start - part.start, 0)
    last = max(min(end, part.end) - part.start, first)
    page = bisect_right(part.pages, first) if part.pages else None
    return Located(part.name, first, last, page)
