"""Ways to read a document into a memory. Start with overwrite.py, the paper's loop.

In order, with a memory in the model's own words:
overwrite   the model writes the next memory, which is kept as it is
gated       the model writes the next memory, or NO CHANGE

In order, with a memory of quotes:
extract     the model writes the next memory, but only lines from the document are kept
collect     the model replies with new quotes or NONE, and never has to copy the old quotes

Not in order, or not to the end, each for both styles of memory (search and search_quotes):
gated_exit  as gated, until the memory answers the question; collect_exit for quotes
parallel    all segments at the same time, then a memory of what was found
search      the segments that BM25 finds for the question, until the memory answers it
reread      in order, then again what BM25 finds for what is missing

A small model that is asked for several facts makes some up: it repeats a line with the next key, or with an invented
number. None of this enters a memory of quotes (`extract` and `collect`). Such a memory cannot count or add up (RULER's
cwe and fwe).
"""

from __future__ import annotations

from memagent.core.reading import Reader
from memagent.errors import UsageError
from memagent.readers import collect, exit, extract, gated, overwrite, parallel, reread, search

READERS: dict[str, Reader] = {
    "overwrite": overwrite.overwrite,
    "gated": gated.gated,
    "gated_exit": exit.gated_exit,
    "extract": extract.extract,
    "collect": collect.collect,
    "collect_exit": exit.collect_exit,
    "parallel": parallel.parallel,
    "parallel_quotes": parallel.parallel_quotes,
    "search": search.search,
    "search_quotes": search.search_quotes,
    "reread": reread.reread,
    "reread_quotes": reread.reread_quotes,
}

_OF_QUOTES = {
    "gated": "collect",
    "gated_exit": "collect_exit",
    "parallel": "parallel_quotes",
    "search": "search_quotes",
    "reread": "reread_quotes",
}
"""Readers, and those that do the same with a memory of quotes."""


def find_reader(name: str, trained: str = "overwrite") -> Reader:
    """Return the reader with this name. For a model trained to collect quotes, it is the one with a memory of quotes.

    Args:
        trained: name of the reader that the model was trained with.

    Raises:
        UsageError: there is no such reader.
    """
    if name not in READERS:
        raise UsageError(f"There is no reader {name}: give {', '.join(READERS)}.")
    return READERS[_OF_QUOTES.get(name, name) if trained in _OF_QUOTES.values() else name]
