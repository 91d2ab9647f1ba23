"""memagent as a model of `llm`, through llm's own command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import keeper
import pytest
from make_documents import pdf

pytestmark = pytest.mark.slow


@pytest.fixture
def run(tmp_path: Path) -> Any:
    script = tmp_path / "script.jsonl"
    script.write_text(json.dumps("\n".join(keeper.FACTS)) + "\n")
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
        "LLM_USER_PATH": str(tmp_path / "llm"),
        "XDG_STATE_HOME": str(tmp_path / "state"),
    }

    def command(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        model = ["-m", "memagent", "-o", "model", f"scripted:{script}", "-o", "window", "20000"]
        return subprocess.run(
            [sys.executable, "-m", "llm", *model, *arguments],
            input=stdin, capture_output=True, text=True, env=environment, timeout=120,
        )  # fmt: skip

    return command


def test_fragments_are_read_and_progress_is_shown(run: Any, tmp_path: Path) -> None:
    book = tmp_path / "book.txt"
    book.write_text(keeper.text(400))
    found = run("-f", str(book), keeper.QUESTION)
    assert found.returncode == 0, found.stderr
    assert found.stdout.strip() == "\n".join(keeper.FACTS)
    assert "Read 100%." in found.stderr
    assert len(list((tmp_path / "state" / "memagent" / "runs").iterdir())) == 1


def test_attachments_are_read(run: Any, tmp_path: Path) -> None:
    file = pdf(tmp_path / "keeper.pdf", [f"{keeper.FILLER}\n{each}" for each in keeper.FACTS])
    found = run("-a", str(file), keeper.QUESTION)
    assert (found.returncode, found.stdout.strip()) == (0, "\n".join(keeper.FACTS)), found.stderr


def test_a_short_prompt_goes_to_the_model_and_a_long_one_is_split(run: Any) -> None:
    found = run("Hello")
    assert (found.returncode, found.stdout.strip(), found.stderr) == (0, "\n".join(keeper.FACTS), "")
    found = run(keeper.QUESTION, stdin=keeper.text(400))
    assert (found.returncode, found.stdout.strip()) == (0, "\n".join(keeper.FACTS)), found.stderr
    assert "Read 100%." in found.stderr


def test_an_error_is_one_sentence(run: Any, tmp_path: Path) -> None:
    found = run("-o", "reader", "telepathy", "Hello")
    assert found.returncode == 1
    assert found.stderr.startswith("Error: There is no reader telepathy")
    assert "Traceback" not in found.stderr


def test_the_system_prompt_is_asked_too(run: Any, tmp_path: Path) -> None:
    book = tmp_path / "book.txt"
    book.write_text(keeper.text(400))
    found = run("-s", "Answer in one word.", "-f", str(book), keeper.QUESTION)
    assert found.returncode == 0, found.stderr
    [journal] = (tmp_path / "state" / "memagent" / "runs").glob("*/journal.jsonl")
    assert json.loads(journal.read_text().split("\n")[0])["question"] == f"Answer in one word.\n{keeper.QUESTION}"


def test_a_conversation_goes_on_after_a_long_text(run: Any) -> None:
    assert run(keeper.QUESTION, stdin=keeper.text(400)).returncode == 0
    found = run("-c", "And the other one?")
    assert (found.returncode, found.stdout.strip()) == (0, "\n".join(keeper.FACTS)), found.stderr
