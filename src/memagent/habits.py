"""How a model is used to reading: prompts, budget, memory. A trained policy carries them in `memagent.json`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from memagent.budget import Budget
from memagent.errors import ModelError
from memagent.memories import STEPS, Memory
from memagent.prompts import Prompts

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
        found = json.loads(path.read_text(encoding="utf-8"))
        memory = found.get("memory", "abstractive")
        if memory not in STEPS:
            raise ValueError(f"there is no memory {memory!r}")
        return Habits(Prompts(**found["prompts"]), Budget(**found["budget"]), memory)
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} is damaged ({error}): fetch the model again.") from error
