"""The ways to read a document into a memory. Start with overwrite.py: the paper's loop.

overwrite   what the model writes is the next memory
extract     the model writes the whole memory, and only lines that stand in the document stay in it
collect     the model replies with new quotes or NONE, and never has to copy the old ones

A small model that is asked for several things writes ahead: the line it has again with the next key, or with a number
that it made up. None of that enters a memory of quotes (the last two). Such a memory cannot count or sum up (RULER's
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
    """The reader of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in READERS:
        raise UsageError(f"There is no reader {name}: give {', '.join(READERS)}.")
    return READERS[name]
