"""Find the segments of a document for a query, by BM25 over their passages."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from memagent.core.ranking import Ranking
from memagent.core.records import Segment
from memagent.core.segments import natural_cut

_PASSAGE = 1000  # characters: a segment is ranked by its best passage, because an answer is in one place


class Lookup:
    """An index of a document's segments by their passages."""

    def __init__(self, segments: Sequence[Segment]) -> None:
        passages: list[str] = []
        self._owners: list[int] = []
        for number, segment in enumerate(segments):
            cuts = _passages(segment.text)
            passages += cuts
            self._owners += [number] * len(cuts)
        self._ranking = Ranking(passages)

    def best(self, query: str, many: int, among: Collection[int] | None = None) -> list[int]:
        """Return the numbers of the segments that match the query best, in the order of the document.

        Args:
            many: maximum number of segments; those without a word of the query are left out.
            among: numbers of the segments to choose from; None for all.
        """
        found: dict[int, None] = {}
        for passage in self._ranking.best(query):
            number = self._owners[passage]
            if among is None or number in among:
                found[number] = None
            if len(found) == many:
                break
        return sorted(found)


def _passages(text: str) -> list[str]:
    start, found = 0, []
    while start < len(text):
        high = min(start + _PASSAGE, len(text))
        end = natural_cut(text, start, start + _PASSAGE // 2, high) if high < len(text) else high
        found.append(text[start:end])
        start = end
    return found
