"""The program as a user runs it: in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fault_server import FaultServer, ok, status
from inside import inside

from memagent.runs.run import FILE, Run

TEXT = "".join(f"Sentence number {n} says that key{n} is {n * n}.\n" for n in range(300))
SEGMENTS = 33  # of 450 bytes


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who has not used memagent before."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "book.txt").write_text(TEXT)
    script = ['"Nothing yet."'] * (SEGMENTS - 1) + ['"key299 is 89401"', '"It is \\\\boxed{89401}"']
    (tmp_path / "script.jsonl").write_text("\n".join(script) + "\n")


SCRIPTED = ("--model", "scripted:script.jsonl", "--segment-tokens", "450")


def memagent(*arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "memagent", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        env=os.environ | environment,
        timeout=60,
    )


def failed(done: subprocess.CompletedProcess[str]) -> str:
    """The single sentence on stderr of a command that failed."""
    assert done.stdout == ""
    [line] = done.stderr.strip().splitlines()
    assert line.startswith("Error: ")
    return line.removeprefix("Error: ")


def test_json_is_exactly_one_object_with_all_that_is_promised() -> None:
    done = memagent("ask", "What is key299?", "book.txt", *SCRIPTED, "--json", "--price", "1/2")
    assert (done.returncode, done.stderr) == (0, "")
    value = json.loads(done.stdout)
    assert value["finish"] == "stop"
    assert set(value) == {"question", "answer", "finish", "memory", "citations", "segments", "usage", "run", "warnings"}
    assert value["answer"] == "89401"
    assert value["segments"] == SEGMENTS
    assert set(value["usage"]) == {"prompt_tokens", "completion_tokens", "model_seconds", "seconds", "cost"}
    [place] = value["citations"]
    assert set(place) == {"document", "start", "end", "quote", "segment"}
    assert TEXT[place["start"] : place["end"]] == place["quote"]
    assert Run(Path(value["run"])).trace.answer == "It is \\boxed{89401}"


def test_a_person_reads_the_answer_on_stdout_and_the_figures_on_stderr() -> None:
    done = memagent("ask", "What is key299?", "book.txt", *SCRIPTED)
    assert done.returncode == 0
    assert done.stdout.splitlines()[0] == "89401"
    assert "[1] book.txt, " in done.stdout
    assert f"{SEGMENTS} segments" in done.stderr
    assert "memagent show" in done.stderr


def test_the_same_command_again_costs_nothing_and_fresh_reads_anew(tmp_path: Path) -> None:
    first = json.loads(memagent("ask", "Why?", "book.txt", *SCRIPTED, "--json").stdout)
    again = json.loads(memagent("ask", "Why?", "book.txt", *SCRIPTED, "--json").stdout)
    assert (again["run"], again["answer"], again["usage"]["prompt_tokens"]) == (
        first["run"],
        first["answer"],
        first["usage"]["prompt_tokens"],
    )
    journal = Path(first["run"]) / FILE
    before = journal.stat().st_mtime_ns
    assert memagent("ask", "Why?", "book.txt", *SCRIPTED).returncode == 0
    assert journal.stat().st_mtime_ns == before
    assert memagent("ask", "Why?", "book.txt", *SCRIPTED, "--fresh").returncode == 0
    assert journal.stat().st_mtime_ns > before
    other = json.loads(memagent("ask", "Who?", "book.txt", *SCRIPTED, "--json").stdout)
    assert other["run"] != first["run"]


def test_stdin_several_questions_and_a_file_of_them(tmp_path: Path) -> None:
    (tmp_path / "questions.txt").write_text("Who?\n\nWhere?\n")
    done = memagent(
        "ask", "-", "-q", "Why?", "--questions", "questions.txt", *SCRIPTED, "--run", "out", "--json", stdin=TEXT
    )
    answers = json.loads(done.stdout)["answers"]
    assert [answer["question"] for answer in answers] == ["Why?", "Who?", "Where?"]
    assert [Path(answer["run"]).name.split("-")[0] for answer in answers] == ["why", "who", "where"]
    assert {Path(answer["run"]).parent.name for answer in answers} == {"out"}
    assert {answer["segments"] for answer in answers} == {SEGMENTS}
    shown = memagent("show", "out")
    assert sorted(line for line in shown.stdout.splitlines() if line.endswith("?")) == ["Where?", "Who?", "Why?"]


@pytest.mark.parametrize(
    "content", ["Who?\r\n\r\nWhere?".encode("utf-8-sig"), b"Who?\rWhere?\r", "Who?\nWhere?".encode("utf-16")]
)
def test_a_file_of_questions_in_another_encoding(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "questions.txt").write_bytes(content)
    done = memagent("ask", "--questions", "questions.txt", "book.txt", *SCRIPTED, "--json")
    assert [answer["question"] for answer in json.loads(done.stdout)["answers"]] == ["Who?", "Where?"]


@pytest.mark.parametrize(
    ("content", "said"), [("Who?".encode("utf-16-le"), "contain NUL bytes"), (b"Caf\xe9?", "are not UTF-8 text")]
)
def test_a_file_of_questions_that_cannot_be_read(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "questions.txt").write_bytes(content)
    assert said in failed(memagent("ask", "--questions", "questions.txt", "book.txt", *SCRIPTED))


def test_kill_9_and_resume_pays_for_no_turn_twice(tmp_path: Path) -> None:
    slow = [sys.executable, "-c", SLOW, "ask", "Why?", "book.txt", *SCRIPTED, "--run", "out", "--quiet"]
    killed = 0
    while True:
        process = subprocess.Popen(slow, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        target = (killed + 1) * 9
        while process.poll() is None and lines("out") < target and killed < 3:
            time.sleep(0.01)
        if killed == 3:
            assert process.communicate()[0].splitlines()[0]
            break
        process.send_signal(signal.SIGKILL)
        process.communicate()
        killed += 1
    pieces = [turn.request.segment for turn in Run(Path("out")).trace.memories]
    assert "".join(piece.text for piece in pieces if piece) == TEXT
    assert len(pieces) == SEGMENTS
    calls = Path("calls").read_text().splitlines()
    assert len(calls) - len(set(calls)) <= 3  # calls in flight when it was killed
    assert len(set(calls)) == SEGMENTS + 1


SLOW = """
import time
from memagent.models.scripted import ScriptedChat
real = ScriptedChat.complete
async def complete(self, request, on_text=None):
    with open("calls", "a") as file:
        print(request.segment and request.segment.start, file=file)
    time.sleep(0.03)
    return await real(self, request, on_text)
ScriptedChat.complete = complete
from memagent.cli import main
main()
"""


def lines(run: str) -> int:
    path = Path(run) / FILE
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.mark.parametrize(
    ("number", "ctrl_c"),
    [(signal.SIGINT, signal.SIG_DFL), (signal.SIGTERM, signal.SIG_DFL), (signal.SIGTERM, signal.SIG_IGN)],
)
def test_interrupted_it_ends_with_130_and_the_same_command_goes_on(
    number: signal.Signals, ctrl_c: signal.Handlers, tmp_path: Path
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    slow = [sys.executable, "-c", SLOW, "ask", "Why?", "book.txt", *SCRIPTED, "--run", "out"]
    process = subprocess.Popen(
        slow,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Tests in the background of a shell ignore Ctrl-C, and their children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, ctrl_c),
        env=os.environ | {"TMPDIR": str(temporary)},
    )
    while lines("out") < 5:
        time.sleep(0.01)
    assert list(temporary.iterdir())
    process.send_signal(number)
    output, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert output == ""
    assert errors.splitlines()[-1] == "Interrupted. What was read is kept. Run the same command to resume."
    assert "Traceback" not in errors
    assert not list(temporary.iterdir())
    done = memagent("ask", "Why?", "book.txt", *SCRIPTED, "--run", "out")
    assert done.returncode == 0
    assert "resumed after" in done.stderr


def test_a_dead_server_ends_with_4_and_resumes(tmp_path: Path) -> None:
    options = ("--run", "out", "--segment-tokens", "2000", "--retries", "0", "--quiet")
    with FaultServer([ok("m1"), ok("probe"), ok("m2"), status(500)]) as server:
        done = memagent("ask", "Why?", "book.txt", "--model", "m", "--base-url", server.url, *options)
    assert done.returncode == 4
    assert "failed with status 500" in failed(done)
    finished = len(Run(Path("out")).trace.turns)
    assert finished == 2


BAD: list[tuple[list[str], int, str]] = [
    ([], 2, "There is no question"),
    (["Why?"], 2, "There is no document"),
    (["Why?", "none.txt"], 3, "There is no file or folder none.txt"),
    (["Why?", "empty.txt"], 3, "empty.txt has no text in it"),
    (["Why?", "binary.bin"], 3, "binary.bin is binary"),
    (["Why?", "latin.txt"], 3, "name its encoding with --encoding"),
    (["Why?", "book.txt", "--encoding", "nonsense"], 3, "no text encoding called 'nonsense'"),
    (["Why?", "fake.pdf"], 3, "fake.pdf is damaged"),
    (["Why?", "cut.txt.gz"], 3, "cut.txt.gz is damaged"),
    (["Why?", "folder"], 3, "without a readable document"),
    (["Why?", "-"], 3, "Standard input has no text"),
    (["Why?", "http://127.0.0.1:9/x"], 3, "cannot be fetched"),
    (["Why?", "ftp://127.0.0.1/x"], 3, "only http and https"),
    (["", "book.txt", *SCRIPTED], 2, "The question is empty"),
    (["word " * 2000, "book.txt", *SCRIPTED], 2, "more than its budget of 1,024"),
    (["Why?", "book.txt", "--max-cost", "1"], 2, "--max-cost needs prices"),
    (["Why?", "book.txt", "--price", "cheap"], 2, "--price is PROMPT/COMPLETION"),
    (["Why?", "book.txt", "--model", "scripted:none"], 2, "script none cannot be read"),
    (["Why?", "book.txt", "--model", "local:none.gguf"], 2, "no model at none.gguf"),
    (["Why?", "book.txt", "--model", "gpt-x"], 2, "set OPENAI_API_KEY"),
    (["Why?", "book.txt", "--model", "m", "--base-url", "nonsense"], 2, "nonsense"),
    (["Why?", "book.txt", "--model", "m", "--base-url", "http://127.0.0.1:9/v1"], 4, "No model server answers"),
    (["Why?", "book.txt", "--model", "m", "--base-url", "http://127.0.0.1:9", "--tokenizer", "x"], 2, "no tokenizer"),
    (["--questions", "none", "book.txt"], 2, "questions in none cannot be read"),
    (["-q", "Why?", "-q", "Why?", "book.txt", *SCRIPTED], 2, "asked twice"),
    (["Why?", "book.txt", *SCRIPTED, "--run", "book.txt"], 2, "is a file, not a run"),
    (["Why?", "book.txt", *SCRIPTED, "--run", "book.txt/run"], 5, "cannot be written"),
    (["Why?", "book.txt", "--temperature", "1", "--top-p", "0"], 2, "top-p is 0"),
    (["Why?", "book.txt", "--price", "inf/1"], 2, "--price is PROMPT/COMPLETION"),
    (["Why?", "book.txt", *SCRIPTED, "--max-tokens", "5000"], 5, "Stopped at 3,"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "status", "sentence"), BAD, ids=lambda value: str(value)[:40])
def test_bad_input_gets_one_sentence_and_its_status(
    tmp_path: Path, arguments: list[str], status: int, sentence: str
) -> None:
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "binary.bin").write_bytes(b"ab\0cd" * 100)
    (tmp_path / "latin.txt").write_bytes("Der schöne Müller läuft über die Brücke.".encode("cp1252"))
    (tmp_path / "fake.pdf").write_bytes(b"%PDF-1.7 nothing")
    (tmp_path / "cut.txt.gz").write_bytes(b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03ab")
    (tmp_path / "folder").mkdir()
    model = [] if "--model" in arguments else ["--model", "scripted:script.jsonl"]
    done = inside("ask", *arguments, *model, "--quiet")
    assert sentence in failed(done)
    assert done.returncode == status


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["ask", "Why?", "book.txt", "--colour"], "No such option"),
        (["ask", "Why?", "book.txt", "--segment-tokens", "0"], "'--segment-tokens'"),
        (["ask", "Why?", "book.txt", "--cut", "sideways"], "'sideways' is not one of"),
        (["asks"], "No such command"),
    ],
)
def test_a_wrong_flag_is_a_usage_error(arguments: list[str], sentence: str) -> None:
    done = memagent(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    last = done.stderr.splitlines()[-1]
    assert last.startswith("Error: ")
    assert sentence in last


def test_several_questions_do_not_mix_with_the_run_of_one() -> None:
    assert inside("ask", "Why?", "book.txt", *SCRIPTED, "--run", "out").returncode == 0
    done = inside("ask", "-q", "Why?", "-q", "Who?", "book.txt", *SCRIPTED, "--run", "out")
    assert done.returncode == 2
    assert "give several questions another --run" in failed(done)


def test_the_version_is_printed() -> None:
    assert memagent("--version").stdout == "0.1.0\n"


def test_debug_shows_the_traceback() -> None:
    assert "Traceback" in memagent("ask", "Why?", "none.txt", *SCRIPTED, "--debug").stderr


def test_the_knobs_reach_the_reading() -> None:
    """Each flag that shapes a reading changes the run's header."""
    plain = json.loads(inside("ask", "Why?", "book.txt", *SCRIPTED, "--json").stdout)
    header = Run(Path(plain["run"])).header
    for flag, value, key in [
        ("--question-tokens", "900", "budget"),
        ("--memory-tokens", "900", "budget"),
        ("--answer-tokens", "900", "budget"),
        ("--segment-tokens", "900", "budget"),
        ("--cut", "tokens", "cut"),
        ("--layout", "section-first", "layout"),
        ("--answer", "sentence", "answer"),
        ("--reader", "extract", "reader"),
        ("--memory", "extractive", "reader"),
    ]:
        done = json.loads(inside("ask", "Why?", "book.txt", *SCRIPTED, flag, value, "--json").stdout)
        changed = Run(Path(done["run"])).header
        assert [name for name in changed if header.get(name) != changed[name]] == [key]


def test_reading_stops_when_the_model_says_that_it_has_enough(tmp_path: Path) -> None:
    replies = ["NO CHANGE", "key17 is 289", "YES", "\\boxed{289}"]
    (tmp_path / "script.jsonl").write_text("\n".join(map(json.dumps, replies)))
    asked = ("ask", "What is key17?", "book.txt", *SCRIPTED)
    done = json.loads(inside(*asked, "--stop-when-answered", "--json").stdout)
    assert (done["answer"], done["segments"]) == ("289", 2)
    [warning] = done["warnings"]
    assert warning.endswith("characters (93.7%) were not read: the reader stopped early.")
    same = json.loads(inside(*asked, "--reader", "exit_gated", "--json").stdout)
    assert same["run"] == done["run"]
    wrong = inside(*asked, "--reader", "search", "--stop-when-answered")
    assert wrong.returncode == 2
    assert failed(wrong) == "--stop-when-answered does not work with --reader search: give gated, extract, collect."
