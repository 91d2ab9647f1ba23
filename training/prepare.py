"""Split the data into one side for training and one for tests.

    python training/prepare.py ../shared/data runs/data

Every third article of SQuAD's development set (by title, in alphabetical order) and five books are held back for tests.
HotpotQA's `dev.jsonl.gz` and FairytaleQA's `val.jsonl.gz` are separate files and never trained on. `split.json` lists
the names on each side.
"""

from __future__ import annotations

import gzip
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from memagent.tasks.rows import read_rows

BOOKS_TO_TEST_ON = (
    "persuasion", "siddhartha", "the-call-of-the-wild", "the-picture-of-dorian-gray", "the-time-machine",
)  # fmt: skip


def prepare(data: Path, out: Path) -> dict[str, Any]:
    """Write both sides of the split. Returns the names on each side."""
    split: dict[str, Any] = {"train": {}, "test": {}}
    squad = _rows(data / "squad" / "dev-v1.1.jsonl.gz")
    titles = sorted({row["title"] for row in squad})
    split["test"]["squad"] = titles[2::3]
    split["train"]["squad"] = sorted(set(titles) - set(titles[2::3]))
    books = sorted(path.name.removesuffix(".txt.gz") for path in (data / "books").glob("*.txt.gz"))
    split["test"]["books"] = [name for name in books if name in BOOKS_TO_TEST_ON]
    split["train"]["books"] = [name for name in books if name not in BOOKS_TO_TEST_ON]
    split["train"]["hotpotqa"] = ["train", "dev-more"]
    split["test"]["hotpotqa"] = ["dev"]
    split["train"]["fairytaleqa"] = sorted({row["title"] for row in _rows(data / "fairytaleqa" / "train.jsonl.gz")})
    split["test"]["fairytaleqa"] = sorted({row["title"] for row in _rows(data / "fairytaleqa" / "val.jsonl.gz")})
    unanswerable = _rows(data / "squad" / "unanswerable-v2.0.jsonl.gz")
    for side, names in split.items():
        folder = out / side
        (folder / "books").mkdir(parents=True, exist_ok=True)
        for name in names["books"]:
            shutil.copy(data / "books" / f"{name}.txt.gz", folder / "books")
        _write(folder / "squad.jsonl.gz", [row for row in squad if row["title"] in names["squad"]])
        _write(folder / "unanswerable.jsonl.gz", [row for row in unanswerable if row["title"] in names["squad"]])
        hotpotqa = [row for part in names["hotpotqa"] for row in _rows(data / "hotpotqa" / f"{part}.jsonl.gz")]
        _write(folder / "hotpotqa.jsonl.gz", hotpotqa)
        part = {"train": "train", "test": "val"}[side]
        shutil.copy(data / "fairytaleqa" / f"{part}.jsonl.gz", folder / "stories.jsonl.gz")
        shutil.copy(data / "wiki" / "paragraphs.jsonl.gz", folder / "paragraphs.jsonl.gz")
    (out / "split.json").write_text(json.dumps(split, indent=1) + "\n", encoding="utf-8")
    return split


def _rows(path: Path) -> list[dict[str, Any]]:
    return [row for _, row in read_rows(path)]


def _write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    for side, names in prepare(Path(sys.argv[1]), Path(sys.argv[2])).items():
        print(side, {kind: len(each) for kind, each in names.items()})
