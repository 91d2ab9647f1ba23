"""How a model reads by default: prompts, budget and reader. A trained policy has them in its `memagent.json`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from memagent.core.budget import Budget
from memagent.core.prompts import Prompts, prompts_for
from memagent.errors import BudgetError, ModelError, UsageError
from memagent.readers import find_reader

FILE = "memagent.json"


@dataclass(frozen=True, slots=True)
class ReaderDefaults:
    """Settings that a model reads with unless the user chooses others. A model without its own uses the paper's."""

    prompts: Prompts = field(default_factory=Prompts)
    budget: Budget = field(default_factory=Budget)
    reader: str = "overwrite"
    """Name of the reader, from `memagent.readers.READERS`."""

    def save(self, folder: Path) -> None:
        (folder / FILE).write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")


def load_reader_defaults(folder: Path) -> ReaderDefaults:
    """Return the defaults in a model's folder, or the paper's if there are none.

    Raises:
        ModelError: the file is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        return ReaderDefaults()
    try:
        value = json.loads(path.read_bytes())
        if isinstance(value, dict) and value.get("memory") in READERS_BEFORE:
            value["reader"] = READERS_BEFORE[value.pop("memory")]
        found = _READER_DEFAULTS.validate_json(json.dumps(value), strict=True)
        prompts_for(*found.prompts.names)
        find_reader(found.reader)
    except (OSError, ValueError, BudgetError, UsageError) as error:
        what = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise ModelError(f"{path} is damaged ({what}): fetch the model again.") from error
    return found


_READER_DEFAULTS = TypeAdapter(ReaderDefaults)
READERS_BEFORE = {"abstractive": "overwrite", "extractive": "extract", "collected": "collect"}
"""Names of the readers in older files, and their names now."""
