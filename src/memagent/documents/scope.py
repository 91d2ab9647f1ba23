"""A part of a document as a name: contract.pdf#pages=10-20."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from memagent.errors import DocumentError

_PAGES = re.compile(r"#pages?=(\d{1,7})(-(\d{1,7})?)?$")


class Pages(NamedTuple):
    """Pages from `first` to `last`, counted from 1; to the end of the document where `last` is None."""

    first: int
    last: int | None


def split_scope(name: str) -> tuple[str, Pages | None]:
    """The name of the whole document, and which of its pages are meant; None for all.

    Raises:
        DocumentError: the pages make no sense.
    """
    found = _PAGES.search(name)
    if found is None or os.path.exists(name):
        return name, None
    first = int(found[1])
    last = first if found[2] is None else int(found[3]) if found[3] else None
    if first < 1 or (last is not None and last < first):
        raise DocumentError(f"{name} names no pages: give a range such as #pages=10-20, counted from 1.")
    return name[: found.start()], Pages(first, last)
