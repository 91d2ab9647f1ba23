"""Split SQuAD's articles: every third title in alphabetical order is for tests, the others are for training.

    python examples/split_squad.py dev-v1.1.jsonl.gz train.jsonl test.jsonl

No article is in both files, so no paragraph and no question is.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from memagent.tasks.rows import read_rows


def split(squad: Path, train: Path, test: Path) -> tuple[int, int]:
    """Write both files. Returns the number of titles in each."""
    rows = [row for _, row in read_rows(squad)]
    titles = sorted({row["title"] for row in rows})
    held = set(titles[2::3])
    for path, part in ((train, set(titles) - held), (test, held)):
        lines = [json.dumps(row) + "\n" for row in rows if row["title"] in part]
        path.write_text("".join(lines), encoding="utf-8")
    return len(titles) - len(held), len(held)


if __name__ == "__main__":
    print("titles to train on and to test on:", *split(*map(Path, sys.argv[1:4])))
