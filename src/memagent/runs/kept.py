"""The folder of the user that keeps runs, and the name of each run in it."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

from memagent.runs.journal_lines import Header


def runs_folder() -> Path:
    """Return the folder that keeps runs for which the user names no folder."""
    from platformdirs import user_state_path

    return user_state_path("memagent") / "runs"


def run_name(header: Header) -> str:
    """Return the name of a run: words of its question, and a digest of everything that identifies it."""
    what = {key: value for key, value in header.items() if key != "memagent"}  # other versions resume the run
    digest = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:10]
    words = re.sub(r"\W+", "-", header["question"].lower()).strip("-")[:40].strip("-")
    return f"{words}-{digest}"
