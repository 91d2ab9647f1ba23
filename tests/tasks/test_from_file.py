from __future__ import annotations

from pathlib import Path

import pytest

from memagent.core.tokenizer import ByteTokenizer
from memagent.errors import UsageError
from memagent.tasks.catalog import Data
from memagent.tasks.example import Length

TASK = """
from memagent.tasks.practice.colours import ColourTask

class Mine(ColourTask):
    def __init__(self):
        super().__init__("mine")

MADE = Mine()
"""


@pytest.mark.parametrize("name", ["Mine", "MADE"])
def test_a_task_comes_out_of_a_file_of_ones_own(tmp_path: Path, name: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text(TASK)
    [task] = Data().tasks([f"{file}:{name}"])
    assert task.example(Length(2000), 0, 1, ByteTokenizer()).answers
    before = Data().fingerprints([task])
    file.write_text(TASK + "# changed\n")
    assert list(before) == ["own:mine"]
    assert Data().fingerprints([task]) != before


@pytest.mark.parametrize(
    ("content", "name", "says"),
    [
        (None, "X", "There is no file"), ("X = 7", "X", "is not a task (it has no name)"), ("", "X", "is not a task"),
        ("class X(", "X", "cannot be run"), ("import nowhere", "X", "cannot be run (No module named 'nowhere')"),
    ],
)  # fmt: skip
def test_what_is_no_task_is_refused(tmp_path: Path, content: str | None, name: str, says: str) -> None:
    file = tmp_path / "mine.py"
    if content is not None:
        file.write_text(content)
    with pytest.raises(UsageError) as caught:
        Data().tasks([f"{file}:{name}"])
    assert says in str(caught.value)
