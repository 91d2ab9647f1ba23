"""Data from the Hugging Face hub: `hub:NAME[@CONFIG][:SPLIT]`, such as `hub:hotpotqa/hotpot_qa@distractor`.

The split is "validation" unless named. NAME may be a local folder of parquet or JSONL files. Loading needs the library
`datasets`, an extra: `pip install "memagent[hub]"`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from memagent.errors import DocumentError, UsageError

_PREFIX = "hub:"
_NAME = re.compile(r"hub:(?P<name>[^@]+?)(?:@(?P<config>[^@:]+))?(?::(?P<split>\w+))?")


def is_hub(path: str | Path) -> bool:
    return str(path).startswith(_PREFIX)


def rows(name: str) -> Iterator[tuple[str, object]]:
    """Yield the rows of a data set, each with its place, for messages.

    Raises:
        UsageError: the name does not have that form, or `datasets` is not installed.
        DocumentError: there is no such data set, configuration or split, or the hub cannot be reached.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise UsageError(f"{name} does not name a data set: write hub:NAME, hub:NAME@CONFIG or hub:NAME@CONFIG:SPLIT.")
    try:
        import datasets
    except ImportError as error:
        raise UsageError(f'{name} needs the datasets library: run `pip install "memagent[hub]"`.') from error
    from datasets.exceptions import DatasetsError

    datasets.disable_progress_bars()
    try:
        table = datasets.load_dataset(match["name"], match["config"], split=match["split"] or "validation")
    except ConnectionError as error:
        raise DocumentError(
            f"{name} cannot be fetched ({error}): check the network, or give the path of a copy on disk."
        ) from error
    except (OSError, ValueError, DatasetsError) as error:
        raise DocumentError(
            f"{name} cannot be loaded ({error}): check the name, the configuration and the split."
        ) from error
    for number, row in enumerate(table, 1):
        yield f"Row {number} of {name}", row
