"""`memagent runs`, and `memagent show` without a folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from memagent.cli import app, ask, runs, show  # noqa: F401  (each adds its command)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    Path("cat.txt").write_text("The cat is red.")
    Path("script.jsonl").write_text('"The cat is red."\n"\\\\boxed{red}"\n')


def memagent(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, catch_exceptions=False)


def test_runs_are_listed_shown_and_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMAGENT_MODEL", "scripted:script.jsonl")
    for question in ("What is red?", "Who is red?"):
        assert memagent("ask", question, "cat.txt", "--quiet").exit_code == 0
    listed = json.loads(memagent("runs", "--json").stdout)["runs"]
    assert [(each["question"], each["documents"], each["turns"], each["answer"]) for each in listed] == [
        ("What is red?", ["cat.txt"], 2, "red"),
        ("Who is red?", ["cat.txt"], 2, "red"),
    ]
    assert memagent("runs").stdout.splitlines()[1] == f"{listed[1]['run']}  2 turns: red"
    assert Path(memagent("runs", "latest").stdout.strip()).name == listed[1]["run"]
    assert "Who is red?" in memagent("show").stdout
    assert memagent("runs", "remove", listed[1]["run"]).exit_code == 0
    assert "What is red?" in memagent("show").stdout


def test_a_run_of_another_format_is_listed_with_its_reason() -> None:
    folder = Path("state/memagent/runs/old")
    folder.mkdir(parents=True)
    (folder / "journal.jsonl").write_text('{"memagent": "0.0.9", "question": "Who?"}\n')
    assert "was made by memagent 0.0.9" in memagent("runs").stdout
