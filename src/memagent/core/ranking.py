"""Rank texts by BM25 for a query."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from memagent.core.text import UNSPACED

_WORD = rf"[^\W_{UNSPACED}]+|[{UNSPACED}]"
"""Words, or single characters in scripts without spaces between words."""


class Ranking:
    """An index of texts to rank. It ignores case and common English words."""

    def __init__(self, texts: Sequence[str]) -> None:
        import bm25s

        self._index = None
        words = _words(texts)
        if any(words):
            self._index = bm25s.BM25()
            self._index.index(words, show_progress=False)

    def best(self, query: str) -> list[int]:
        """Return the numbers of the texts that have a word of the query, best first. Equal texts stay in order."""
        words = _words([query])[0]
        if self._index is None or not words:
            return []
        scores = self._index.get_scores(words)
        found = [number for number, score in enumerate(scores) if score > 0]
        return sorted(found, key=lambda number: -scores[number])


def _words(texts: Iterable[str]) -> list[list[str]]:
    import bm25s

    found: list[list[str]] = bm25s.tokenize(
        list(texts), token_pattern=_WORD, stopwords="en", return_ids=False, show_progress=False
    )
    return found
