from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from memagent.core.budget import Budget
from memagent.core.prompts import prompts_for
from memagent.core.records import Completion, Message, Request, Segment, Tokens, Turn, Usage
from memagent.errors import RunError, StorageError
from memagent.readers.overwrite import answer, update
from memagent.runs.journal import Journal
from memagent.runs.journal_lines import Header
from memagent.runs.run import FILE, Run, find_runs

BUDGET = Budget(10, 20, 30, 40)


def header(**changes: object) -> Header:
    return {
        "memagent": "0",
        "question": "Why?",
        "model": "m",
        "budget": asdict(BUDGET),
        "layout": "paper",
        "answer": "boxed",
        "documents": [],
        **changes,
    }


def memory_turn(index: int, text: str, before: str = "No previous memory") -> Turn:
    segment = Segment(index * 3, index * 3 + 3, "añ\n", 3)
    request = update("Why?", before, segment, BUDGET, prompts_for())
    return Turn(index, request, Completion(text, "length", Usage(5, 7, 0.25)), text, index)


def answer_turn(index: int, memory: str, text: str) -> Turn:
    request: Request = answer("Why?", memory, BUDGET, prompts_for())
    tokens = Tokens((1, 2), (-0.5, -0.25), (7, 8, 9))
    return Turn(index, request, Completion(text, "stop", Usage(2, 1, 0.5), tokens), memory, index)


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    turns = [memory_turn(0, "m1"), memory_turn(1, "m2 \ud800 “é”", "m1"), answer_turn(2, "m2 \ud800 “é”", "so")]
    journal = Journal(tmp_path / "run", header())
    for turn in turns:
        journal.append(turn)
    assert list(journal.trace.turns) == turns
    end = {"answer": "so", "citations": []}
    journal.finish(end)
    journal.close()

    run = Run(tmp_path / "run")
    assert run.header == header() | {"format": 2}
    assert list(run.trace.turns) == turns
    assert run.trace.turns[-1] == turns[-1]
    assert list(run.trace.turns[:-1]) == turns[:-1]
    assert list(run.trace.turns[1:]) == turns[1:]
    assert run.trace.memory == "m2 \ud800 “é”"
    assert run.trace.answer == "so"
    assert run.usage == Usage(12, 15, 1.0)
    assert run.end == end


def test_what_was_kept_of_a_completion_is_read_back_and_a_section_may_come_again(tmp_path: Path) -> None:
    first, again = replace(memory_turn(0, "m1 and more"), memory="m1"), replace(memory_turn(0, "m1", "m1"), index=1)
    turns = [first, again]
    journal = Journal(tmp_path, header())
    for turn in turns:
        journal.append(turn)
    journal.close()
    run = Run(tmp_path)
    assert list(run.trace.turns) == turns
    assert [turn.memory for turn in run.trace.turns] == ["m1", "m1"]
    assert run.trace.segments == [0, 0]


def test_a_torn_last_line_is_dropped_wherever_it_tears(tmp_path: Path) -> None:
    journal = Journal(tmp_path, header())
    journal.append(memory_turn(0, "m1"))
    whole = (tmp_path / FILE).stat().st_size
    journal.append(memory_turn(1, "m2", "m1"))
    journal.close()
    data = (tmp_path / FILE).read_bytes()
    for size in range(whole, len(data)):
        (tmp_path / FILE).write_bytes(data[:size])
        again = Journal(tmp_path, header())
        assert [turn.completion.text for turn in again.trace.turns] == ["m1"]
        again.append(memory_turn(1, "m2", "m1"))
        again.close()
        assert (tmp_path / FILE).read_bytes() == data


def test_a_journal_without_a_whole_first_line_begins_anew(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text('{"memagent": "0", "quest')
    journal = Journal(tmp_path, header())
    assert Run(tmp_path).header == header() | {"format": 2}
    assert len(Run(tmp_path).trace.turns) == 0
    journal.close()


def test_a_run_in_which_nothing_happened_leaves_nothing_behind(tmp_path: Path) -> None:
    Journal(tmp_path / "run", header()).close()
    assert not (tmp_path / "run").exists()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine").write_text("")
    Journal(tmp_path / "run", header()).close()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["mine"]


def strange(line: bytes) -> list[bytes]:
    """Return variants of a turn's line, each with one value that no reading writes, and invalid last lines."""
    turn = json.loads(line)
    wrong = {
        "text": 7, "finish": "bored", "seconds": -1.0, "prompt_tokens": "12", "completion_tokens": 1e99, "memory": None,
        "start": -1, "tokens": True, "section": "longer than its place", "whole": "abc", "kind": 3, "ids": [1],
        "template": "0", "fields": {"memory": {"is": "reply"}}, "before": 1, "wave": -1, "together": [[1, 2]],
    }  # fmt: skip
    cited = {"start": 0, "end": 2, "quote": "m1", "turn": 0, "score": 0.9, "fact": "m1"}
    ends: list[dict[str, object]] = [
        {"answer": "so", "citations": [cited | {"turn": 9}]},
        {"answer": "so", "citations": [cited | {"start": 3}]},
        {"answer": "so", "citations": [cited | {"score": "<b>"}]},
        {"answer": "so", "citations": [], "warnings": [7]},
        {"answer": None, "citations": []},
    ]
    return [
        *(json.dumps(turn | {key: value}).encode() + b"\n" for key, value in wrong.items()),
        *(json.dumps({"end": end}).encode() + b"\n" for end in ends),
    ]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("question", 7), ("budget", {"segment": "5000"}), ("budget", {"window": 1}), ("budget", [1]),
        ("documents", [{"name": "a", "start": 0, "end": 1}]), ("documents", "a.txt"),
    ],
)  # fmt: skip
def test_a_strange_header_is_refused(tmp_path: Path, key: str, value: object) -> None:
    (tmp_path / FILE).write_bytes(json.dumps(header() | {"format": 2, key: value}).encode() + b"\n")
    with pytest.raises(RunError, match=f"Line 1 of .*{FILE} is damaged"):
        Run(tmp_path)


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    journal = Journal(tmp_path, header())
    for index, text in enumerate(["m1", "m2", "m3"]):
        journal.append(memory_turn(index, text, f"m{index}"))
    journal.close()
    lines = (tmp_path / FILE).read_bytes().splitlines(keepends=True)
    for damaged in (
        b"not json\n",
        b"{}\n",
        b'{"turn": 0}\n',
        b"7\n",
        b'{"end": {}}\n',
        lines[3],
        b"",
        *strange(lines[2]),
    ):
        (tmp_path / FILE).write_bytes(lines[0] + lines[1] + damaged + lines[3] + lines[4])
        with pytest.raises(RunError, match=f"Line 3 of .*{FILE} is damaged"):
            Journal(tmp_path, header())
        with pytest.raises(RunError, match="Line 3"):
            Run(tmp_path)


@pytest.mark.parametrize(
    ("key", "value"), [("question", "How?"), ("model", "n"), ("budget", asdict(Budget())), ("layout", "section-first")]
)
def test_another_reading_is_refused_with_what_changed(tmp_path: Path, key: str, value: object) -> None:
    Journal(tmp_path, header()).close()
    journal = Journal(tmp_path, header(**{key: value}))  # the run has no turns yet, so another reading may begin
    journal.close()
    journal = Journal(tmp_path, header())
    journal.append(memory_turn(0, "m1"))
    journal.close()
    with pytest.raises(RunError, match=f"its {key} was .* now it is"):
        Journal(tmp_path, header(**{key: value}))
    Journal(tmp_path, header(memagent="another version")).close()
    fresh = Journal(tmp_path, header(**{key: value}), fresh=True)
    assert Run(tmp_path).header[key] == value
    fresh.close()


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    journal = Journal(tmp_path, header())
    program = (
        "import sys, json, pathlib\nfrom memagent.runs.journal import Journal\nfrom memagent.errors import RunError\n"
        "try: Journal(pathlib.Path(sys.argv[1]), json.loads(sys.argv[2]))\nexcept RunError as error: print(error)"
    )
    command = [sys.executable, "-c", program, str(tmp_path), json.dumps(header())]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.startswith("Another process is using the run")
    journal.close()
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == ""


def test_a_full_disk_loses_no_finished_turn(tmp_path: Path) -> None:
    journal = Journal(tmp_path, header())
    journal.append(memory_turn(0, "m1"))
    size = (tmp_path / FILE).stat().st_size
    program = (
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import pathlib, resource, test_journal as t\nfrom memagent.errors import StorageError\n"
        "journal = t.Journal(pathlib.Path(sys.argv[2]), t.header())\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2)\n"
        "try: journal.append(t.memory_turn(1, 'm2', 'm1'))\nexcept StorageError as error: print(error)"
    )
    journal.close()
    here = str(Path(__file__).parent)
    command = [sys.executable, "-c", program, here, str(tmp_path), str(size + 50)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.count("cannot be written (File too large): make room") == 1
    again = Journal(tmp_path, header())
    assert [turn.completion.text for turn in again.trace.turns] == ["m1"]
    again.append(memory_turn(1, "m2", "m1"))
    again.close()
    assert [turn.completion.text for turn in Run(tmp_path).trace.turns] == ["m1", "m2"]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


def test_a_folder_that_cannot_be_a_run_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        Journal(tmp_path / "file" / "run", header())
    with pytest.raises(RunError, match="is a file, not a run"):
        Journal(tmp_path / "file", header())


def test_a_file_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    for content in ("my own notes", '{"mine": 1}\n'):
        (tmp_path / FILE).write_text(content)
        with pytest.raises(RunError):
            Journal(tmp_path, header())
        assert (tmp_path / FILE).read_text() == content


def test_each_turn_is_on_the_disk_before_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    real = os.fsync

    def fsync(file: int) -> None:
        real(file)
        synced.append(os.fstat(file).st_size)

    monkeypatch.setattr(os, "fsync", fsync)
    journal = Journal(tmp_path, header())
    journal.append(memory_turn(0, "m1"))
    journal.sync()
    assert synced[-1] == (tmp_path / FILE).stat().st_size
    count = len(synced)
    journal.close()
    lazy = Journal(tmp_path, header(), fsync=False)
    lazy.append(memory_turn(1, "m2", "m1"))
    lazy.sync()
    lazy.close()
    assert len(synced) == count


def test_runs_are_found(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="There is no run at"):
        find_runs(tmp_path)
    with pytest.raises(RunError, match="There is no run at"):
        Run(tmp_path)
    for name in ("2", "1"):
        journal = Journal(tmp_path / name, header())
        journal.append(memory_turn(0, "m1"))
        journal.close()
    assert find_runs(tmp_path) == [tmp_path / "1", tmp_path / "2"]
    assert find_runs(tmp_path / "1") == [tmp_path / "1"]


def test_a_template_stands_once_and_what_was_asked_is_checked(tmp_path: Path) -> None:
    journal = Journal(tmp_path, header())
    for index, text in enumerate(["m1", "m2"]):
        journal.append(memory_turn(index, text, f"m{index}"))
    journal.close()
    text = (tmp_path / FILE).read_text()
    assert text.count("You are presented with a problem") == 1
    (tmp_path / FILE).write_text(text.replace('"before": "m1"', '"before": "m0"'))
    with pytest.raises(RunError, match=r"Turn 2 of .* is damaged"):
        list(Run(tmp_path).trace.turns)


def test_a_conversation_without_a_template_is_read_back(tmp_path: Path) -> None:
    said = Request((Message("system", "Be brief."), Message("user", "Why?")), 8, kind="answer")
    journal = Journal(tmp_path, header())
    journal.append(Turn(0, said, Completion("So."), ""))
    journal.close()
    assert Run(tmp_path).trace.turns[0].request == said


def test_a_journal_of_another_format_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(json.dumps(header()) + "\n")
    said = "was made by memagent 0, whose journals have a different format"
    with pytest.raises(RunError, match=said):
        Run(tmp_path)
    with pytest.raises(RunError, match=said):
        Journal(tmp_path, header())
