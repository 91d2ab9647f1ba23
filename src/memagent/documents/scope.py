"""Parse names for part of a document, such as contract.pdf#pages=10-20."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from memagent.errors import DocumentError

_PAGES = re.compile(r"#pages?=(\d{1,7})(-(\d{1,7})?)?$")


class Pages(NamedTuple):
    """The pages from `first` to `last`, counted from 1; `last` is None for the end of the document."""

    first: int
    last: int | None

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last or ''}"


def split_scope(name: str) -> tuple[str, Pages | None]:
    """Split a name into the name of the whole document and the pages to read; None for all pages.

    Raises:
        DocumentError: the range of pages is invalid.
    """
    found = _PAGES.search(name)
    if found is None or os.path.exists(name):
        return name, None
    first = int(found[1])
    last = first if found[2] is None else int(found[3]) if found[3] else None
    if first < 1 or (last is not None and last < first):
        raise DocumentError(f"{name} has an invalid page range: give one such as #pages=10-20, counted from 1.")
    return name[: found.start()], Pages(first, last)
