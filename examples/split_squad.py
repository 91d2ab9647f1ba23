"""Part SQuAD's articles: two thirds to train on, every third title in alphabetical order to test on.

    python examples/split_squad.py dev-v1.1.jsonl.gz train.jsonl test.jsonl

No article stands in both, and so no paragraph and no question.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from memagent.tasks.rows import read_rows


def split(squad: Path, train: Path, test: Path) -> tuple[int, int]:
    """How many titles each file has in the end."""
    rows = [row for _, row in read_rows(squad)]
    titles = sorted({row["title"] for row in rows})
    held = set(titles[2::3])
    for path, part in ((train, set(titles) - held), (test, held)):
        lines = [json.dumps(row) + "\n" for row in rows if row["title"] in part]
        path.write_text("".join(lines), encoding="utf-8")
    return len(titles) - len(held), len(held)


if __name__ == "__main__":
    print("titles to train on and to test on:", *split(*map(Path, sys.argv[1:4])))
