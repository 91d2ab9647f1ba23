"""Golden samples of RULER's tasks and of RULER-HQA, over made-up data, so that no change goes unnoticed.

The files in `golden/` were written by this file (`python tests/tasks/test_golden.py`) and read by a person.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from memagent.core.tokenizer import ByteTokenizer
from memagent.tasks.catalog import RULER, Data
from memagent.tasks.example import Length, Task
from memagent.tasks.lighthouses import make_demo

GOLDEN = Path(__file__).parent / "golden"
LENGTH = Length(2500)
NAMES = [*RULER, "hqa"]


def tasks(folder: Path) -> dict[str, Task]:
    """Return all tasks, over the small data below."""
    paths = {name: folder / f"{name}.json" for name in ("squad", "hotpotqa", "paragraphs")}
    paths["prose"] = folder / "prose.txt"
    paths["prose"].write_text(make_demo(20_000).document)
    for name, rows in (("squad", squad()), ("hotpotqa", hotpotqa()), ("paragraphs", paragraphs())):
        paths[name].write_text(json.dumps(rows))
    given = {name: str(path) for name, path in paths.items()}
    data = Data(given["prose"], given["squad"], given["hotpotqa"], given["paragraphs"])
    return {task.name: task for task in data.tasks(NAMES)}


TOWNS = "Marlow Tenby Orsay Harrow Skerry Calder Wexley Dunmore Fairlie Penrith Arden Lowick".split()


def squad() -> dict[str, Any]:
    """Return data in the form of SQuAD 2.0: towns, each with two paragraphs and a question on each."""
    articles = []
    for place, town in enumerate(TOWNS):
        about = []
        for number, thing in enumerate(("bridge", "market")):
            year = str(1800 + 10 * place + number)
            context = (
                f"{town} is a town of {1000 + place} people. The {thing} of {town} was built in {year}. It is old."
            )
            asked = {
                "id": f"{town}-{thing}",
                "question": f"When was the {thing} of {town} built?",
                "answers": [{"text": year, "answer_start": context.index(year)}],
                "is_impossible": False,
            }
            about.append({"context": context, "qas": [asked]})
        articles.append({"title": town, "paragraphs": about})
    return {"version": "v2.0", "data": articles}


def hotpotqa() -> list[dict[str, Any]]:
    """Return data in the form of HotpotQA: who wrote the book that a film is based on?"""
    rows = []
    for number, town in enumerate(TOWNS):
        film, book, author = f"Night in {town}", f"A Year in {town}", f"Ada {town}"
        others = [f"Hill {10 * number + other}" for other in range(4)]
        context = [
            [film, [f"{film} is a film of {1930 + number}.", f" It was made after the book {book}."]],
            [book, [f"{book} is a book by {author}.", " It has 300 pages."]],
            *[[other, [f"{other} is a hill.", " Few people live there."]] for other in others],
        ]
        rows.append(
            {
                "_id": film,
                "question": f"Who wrote the book that the film {film} was made after?",
                "answer": author,
                "type": "bridge",
                "level": "easy",
                "supporting_facts": [[film, 1], [book, 0]],
                "context": context,
            }
        )
    return rows


def paragraphs() -> list[dict[str, str]]:
    """Return paragraphs on lakes, of different lengths so that some fit the rest of a length."""
    return [
        {
            "title": f"Lake {number}",
            "text": f"Lake {number} is {100 + number} feet deep." + " It is cold." * (number % 7),
        }
        for number in range(60)
    ]


def sample(task: Task) -> dict[str, Any]:
    return asdict(task.example(LENGTH, 0, 42, ByteTokenizer()))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Task]:
    return tasks(tmp_path_factory.mktemp("data"))


@pytest.mark.parametrize("name", NAMES)
def test_the_sample_is_the_golden_one(name: str, made: dict[str, Task]) -> None:
    golden = json.loads((GOLDEN / f"{name}.json").read_text())
    assert json.loads(json.dumps(sample(made[name]))) == golden


def write() -> None:
    from tempfile import TemporaryDirectory

    GOLDEN.mkdir(exist_ok=True)
    with TemporaryDirectory() as folder:
        for name, task in tasks(Path(folder)).items():
            (GOLDEN / f"{name}.json").write_text(json.dumps(sample(task), indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    write()
