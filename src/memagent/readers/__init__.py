"""Ways to read a document into a memory. Start with overwrite.py, the paper's loop.

overwrite   the model writes the next memory, which is kept as it is
extract     the model writes the next memory, but only lines from the document are kept
collect     the model replies with new quotes or NONE, and never has to copy the old quotes

A small model that is asked for several facts makes some up: it repeats a line with the next key, or with an invented
number. None of this enters a memory of quotes (`extract` and `collect`). Such a memory cannot count or add up (RULER's
cwe and fwe).
"""

from __future__ import annotations

from memagent.core.reading import Reader
from memagent.errors import UsageError
from memagent.readers import collect, extract, overwrite

READERS: dict[str, Reader] = {
    "overwrite": overwrite.overwrite,
    "extract": extract.extract,
    "collect": collect.collect,
}


def find_reader(name: str) -> Reader:
    """Return the reader with this name.

    Raises:
        UsageError: there is no such reader.
    """
    if name not in READERS:
        raise UsageError(f"There is no reader {name}: give {', '.join(READERS)}.")
    return READERS[name]
