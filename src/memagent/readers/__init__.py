"""Ways to read a document into a memory. Start with overwrite.py, the paper's loop.

These read every segment, in order:
overwrite   the model writes the next memory, which is kept as it is
gated       the model writes the next memory, or NO CHANGE
extract     the model writes the next memory, but only lines from the document are kept
collect     the model replies with new quotes or NONE, and never has to copy the old quotes

These read in another way. Each works with the memory of gated, extract or collect (search_gated, for example):
exit        reads in order until the memory answers the question
parallel    reads all segments at the same time, and merges what it found into one memory
search      reads the segments that BM25 finds for the question, until the memory answers it
reread      reads in order, then again the segments that BM25 finds for what is missing

A small model that is asked for several facts makes some up: it repeats a line with the next key, or with an invented
number. None of this enters a memory of quotes (`extract` and `collect`). Such a memory cannot count or add up (RULER's
cwe and fwe).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from memagent.core.budget import Budget
from memagent.core.prompts import Prompts
from memagent.core.reading import Reader, Reading
from memagent.core.records import Segment
from memagent.errors import UsageError
from memagent.readers import collect, exit, extract, gated, overwrite, parallel, reread, search
from memagent.readers.styles import COLLECT, EXTRACT, WORDS, Style

_Read = Callable[[Style, str, Iterable[Segment], Budget, Prompts], Reading]


def _named(name: str, read: _Read, style: Style) -> Reader:
    def reader(question: str, segments: Iterable[Segment], budget: Budget, prompts: Prompts) -> Reading:
        return read(style, question, segments, budget, prompts)

    reader.__name__ = name
    return reader


_STYLES = {"gated": WORDS, "extract": EXTRACT, "collect": COLLECT}
_WAYS: dict[str, _Read] = {
    "exit": exit.until_answered,
    "parallel": parallel.parallel,
    "search": search.search,
    "reread": reread.reread,
}
_IN_ORDER: dict[str, Reader] = {
    "overwrite": overwrite.overwrite,
    "gated": gated.gated,
    "extract": extract.extract,
    "collect": collect.collect,
}
READERS: dict[str, Reader] = {
    **_IN_ORDER,
    **{
        f"{way}_{of}": _named(f"{way}_{of}", read, style)
        for way, read in _WAYS.items()
        for of, style in _STYLES.items()
    },
}
NAMES = tuple(dict.fromkeys([*_IN_ORDER, *_WAYS, *READERS]))
"""Names that `find_reader` knows, the short ones first."""


def find_reader(name: str, trained: str = "overwrite") -> Reader:
    """Return the reader with this name. `search` alone is `search_collect` for a model that was trained with `collect`.

    Args:
        trained: name of the reader that the model was trained with.

    Raises:
        UsageError: there is no such reader.
    """
    if name not in NAMES:
        raise UsageError(f"There is no reader {name}: give {', '.join((*_IN_ORDER, *_WAYS))}.")
    of = memory_of(trained)
    return READERS[f"{name}_{'gated' if of == 'overwrite' else of}" if name in _WAYS else name]


def memory_of(name: str) -> str:
    """Return the in-order reader that keeps the same kind of memory: overwrite, gated, extract or collect."""
    if name == "overwrite":
        return name
    of = name.rpartition("_")[2]
    return of if of in _STYLES else "gated"


def stopping(name: str = "") -> str:
    """Return the name of the reader that reads as this one does, but stops when the memory answers the question.

    Raises:
        UsageError: there is no such reader.
    """
    if not name or name.startswith("exit"):
        return name or "exit"
    if name not in _STYLES:
        raise UsageError(f"--stop-when-answered does not work with --reader {name}: give {', '.join(_STYLES)}.")
    return f"exit_{name}"
