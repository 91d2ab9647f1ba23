"""How a model is used to reading: prompts, budget, memory. A trained policy carries them in `memagent.json`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from memagent.core.budget import Budget
from memagent.core.prompts import Prompts, prompts_for
from memagent.errors import BudgetError, ModelError, UsageError
from memagent.readers.quotes import Memory

FILE = "memagent.json"


@dataclass(frozen=True, slots=True)
class Habits:
    """What holds for a model unless its user wants it otherwise; the paper's, where a model has none of its own."""

    prompts: Prompts = field(default_factory=Prompts)
    budget: Budget = field(default_factory=Budget)
    memory: Memory = "abstractive"

    def save(self, folder: Path) -> None:
        (folder / FILE).write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")


def load_habits(folder: Path) -> Habits:
    """The habits in a model's folder; the paper's where there are none.

    Raises:
        ModelError: the file is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        return Habits()
    try:
        found = _HABITS.validate_json(path.read_bytes(), strict=True)
        prompts_for(*found.prompts.names)
    except (OSError, ValidationError, BudgetError, UsageError) as error:
        what = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise ModelError(f"{path} is damaged ({what}): fetch the model again.") from error
    return found


_HABITS = TypeAdapter(Habits)
