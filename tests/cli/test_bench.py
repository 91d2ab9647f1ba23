"""Runs `memagent bench` as a user does: in its own process."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from data import DATA, needs_data
from fault_server import FaultServer, ok, status
from inside import inside

SCRIPTED = ("--model", "scripted:script.jsonl")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "script.jsonl").write_text('"\\\\boxed{nothing}"\n')


def bench(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "memagent", "bench", *arguments],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        timeout=120,
    )


def failed(done: subprocess.CompletedProcess[str]) -> tuple[int, str]:
    """Return exit status and message of a run that was expected to fail."""
    assert done.stdout == ""
    [line] = done.stderr.strip().splitlines()
    assert line.startswith("Error: ")
    return done.returncode, line.removeprefix("Error: ")


def test_a_run_leaves_results_and_a_report_and_prints_a_table() -> None:
    done = bench(
        "vt",
        "niah_single_1",
        "--lengths",
        "4k,6000",
        "--samples",
        "2",
        "--reader",
        "memory,direct",
        "--out",
        "o",
        *SCRIPTED,
    )
    assert done.returncode == 0
    assert "niah_single_1" in done.stdout
    assert "0.0 [0.0–65.8]" in done.stdout
    assert done.stderr.splitlines()[-1] == "Results: o/results.json. Report: o/report.html."
    lines = [json.loads(line) for line in Path("o/results.jsonl").read_text().splitlines()]
    assert len(lines) == 2 * 2 * 2 * 2
    cells = json.loads(Path("o/results.json").read_text())["cells"]
    assert {(cell["task"], cell["length"], cell["reader"]) for cell in cells} == {
        (task, length, reader)
        for task in ("vt", "niah_single_1")
        for length in (4096, 6000)
        for reader in ("memory", "direct")
    }
    assert {"task", "length", "reader", "model", "metric", "score", "low", "high", "samples", "failed"} <= cells[
        0
    ].keys()
    page = Path("o/report.html").read_text()
    assert "niah_single_1" in page
    assert re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?(?:https?:|//)[^"')]*""", page) == []
    assert Path("o/accuracy.png").read_bytes().startswith(b"\x89PNG")


def test_json_is_one_object_and_a_second_run_has_nothing_to_do() -> None:
    run = ("vt", "--lengths", "4k", "--samples", "3", "--out", "o", *SCRIPTED, "--json")
    done = bench(*run)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {**json.loads(Path("o/results.json").read_text()), "readers": []}
    before = Path("o/results.jsonl").read_bytes()
    again = bench(*run)
    assert again.stdout == done.stdout
    assert Path("o/results.jsonl").read_bytes() == before


@pytest.mark.slow
def test_a_preset_fills_in_what_is_not_given() -> None:
    done = bench("vt", "--preset", "quick", "--samples", "2", "--out", "o", *SCRIPTED, "--json")
    assert done.returncode == 0
    cells = json.loads(done.stdout)["cells"]
    assert {(cell["task"], cell["length"], cell["samples"]) for cell in cells} == {("vt", 2048, 2), ("vt", 4096, 2)}
    assert json.loads(Path("o/run.json").read_text())["budget"]["segment"] == 1000


@pytest.mark.slow
def test_two_runs_are_compared_example_by_example() -> None:
    Path("yes.jsonl").write_text('"\\\\boxed{VAR}"\n')
    for out, script in (("a", "script.jsonl"), ("b", "yes.jsonl")):
        bench("vt", "--lengths", "4k", "--samples", "3", "--out", out, "--model", f"scripted:{script}")
    done = bench("compare", "a", "b", "--json")
    assert done.returncode == 0
    first = json.loads(done.stdout)["differences"][0]
    assert (first["task"], first["length"], first["pairs"], first["difference"]) == ("vt", 4096, 3, 0)
    table = bench("compare", "a", "b").stdout
    assert "+0.0 [-60.0, +60.0]" in table


@pytest.mark.slow
def test_runs_on_other_examples_are_not_compared() -> None:
    for out, seed in (("a", "1"), ("b", "2")):
        bench("vt", "--lengths", "4k", "--samples", "1", "--out", out, "--seed", seed, *SCRIPTED)
    none = (
        "have no reader and example in common: give runs of the same reader, tasks, lengths, seed, tokenizer and data."
    )
    assert failed(bench("compare", "a", "b")) == (2, f"a and b {none}")
    bench("fwe", "--lengths", "4k", "--samples", "1", "--out", "c", "--seed", "1", *SCRIPTED)
    assert failed(bench("compare", "a", "c")) == (2, f"a and c {none}")
    bench("vt", "niah_multikey_2", "--lengths", "4k", "--samples", "2", "--out", "d", "--seed", "1", *SCRIPTED)
    [line, _] = json.loads(bench("compare", "a", "d", "--json").stdout)["differences"]
    assert (line["task"], line["pairs"], line["unpaired"]) == ("vt", 1, 1)


def lines_of_jsonl(broken: int) -> str:
    line = json.dumps({"question": "Who?", "document": "The baker.", "answers": ["baker"]})
    return "\n".join("{broken" if number == broken else line for number in range(1, 21)) + "\n"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["vt2", "--lengths", "4k"], 2, "There is no task vt2: give niah_single_1, "),
        ([], 2, "A benchmark needs a task, a reader and at least one sample"),
        (["vt"], 2, "vt needs another length: give --lengths, such as 8k"),
        (["vt", "--lengths", "4kb"], 2, "'4kb' is not a length: give tokens, such as 4096, 8k or 1m, or paragraphs"),
        (["vt", "--lengths", "50p"], 2, "vt needs another length"),
        (["vt", "--lengths", "100"], 2, "No example of this task is as short as 100 tokens: give a larger length."),
        (["vt", "--lengths", "4k", "--reader", "skim"], 2, "There is no reader skim: give memory, overwrite"),
        (["--preset", "huge"], 2, "There is no preset huge: give quick, ruler-paper, hqa-paper."),
        (["niah_single_2", "--lengths", "4k"], 2, "Data for niah_single_2 is missing: give --prose PATH"),
        (["niah_single_2", "--lengths", "4k", "--prose", "nowhere"], 3, "nowhere"),
        (["mine.jsonl"], 3, "Line 17 of mine.jsonl is not JSON"),
        (["gone.jsonl"], 3, "gone.jsonl"),
        (["cwe", "--lengths", "4m"], 2, "too few for cwe at 4m: give more with --words, or a smaller length."),
        (["vt", "--lengths", "4k", "--out", "script.jsonl"], 2, "script.jsonl is a file: give --out a folder."),
        (["vt", "--lengths", "4k", "--reader", "truncate"], 2, "The truncate reader needs the size of the model's"),
        (["compare", "nowhere", "elsewhere"], 2, "There are no benchmark results in nowhere"),
        (["report", "nowhere"], 2, "There are no benchmark results in nowhere"),
    ],
)
def test_bad_input_gets_one_sentence_and_its_status(arguments: list[str], code: int, says: str) -> None:
    Path("mine.jsonl").write_text(lines_of_jsonl(17))
    model = [] if arguments[:1] in (["compare"], ["report"]) else SCRIPTED
    status, sentence = failed(inside("bench", *arguments, *model))
    assert status == code
    assert says in sentence


@pytest.mark.slow
def test_one_report_of_several_benchmarks() -> None:
    run = ("niah_single_1", "--samples", "2", *SCRIPTED)
    for out, length, reader in (
        ("a", "4k", "memory"),
        ("b", "6k", "memory"),
        ("c", "6k", "direct"),
        ("d", "4k", "memory"),
    ):
        assert bench(*run, "--lengths", length, "--out", out, "--reader", reader).returncode == 0
    done = bench("report", "a", "b", "c", "--out", "all", "--json")
    assert done.returncode == 0
    of = [bench("report", folder, "--json") for folder in ("a", "b", "c")]
    apart = [cell for each in of for cell in json.loads(each.stdout)["cells"]]
    assert json.loads(done.stdout)["cells"] == sorted(apart, key=lambda cell: (cell["length"], cell["reader"]))
    names = {path.name for path in Path("all").iterdir()}
    assert {name for name in names if not name.endswith(".png")} == {"report.html", "results.json"}
    assert "heatmap.png" in names  # a single length gives no heat map
    named = bench("report", "one=a", "two=d", "--out", "named", "--json")
    assert {cell["model"] for cell in json.loads(named.stdout)["cells"]} == {"one", "two"}
    for folders, says in (
        (["a", "b"], "needs a folder of its own: give --out."),
        (["one=a"], "needs a folder of its own: give --out."),
        (["a", "b", "--out", "c"], "c is the folder of a benchmark: give another --out."),
        (["a", "d", "--out", "all"], "a and d both have example 0 of niah_single_1 at 4k by memory with"),
        (["a", "nowhere", "--out", "all"], "There are no benchmark results in nowhere"),
    ):
        code, sentence = failed(bench("report", *folders))
        assert (code, says in sentence) == (2, True)
    code, sentence = failed(bench("report", "a", "b", "--out", "script.jsonl"))
    assert code == 5
    assert "give --out a folder that can be written" in sentence


@pytest.mark.slow
@needs_data
def test_stories_and_questions_without_an_answer_come_from_files_of_their_own() -> None:
    Path("script.jsonl").write_text('"\\\\boxed{The text does not say}"\n')
    tasks = ("fairytale", "squad_unanswerable")
    given = {
        "stories": "fairytaleqa/val.jsonl.gz",
        "squad": "squad/dev-v1.1.jsonl.gz",
        "unanswerable": "squad/unanswerable-v2.0.jsonl.gz",
    }
    files = [part for name, file in given.items() for part in (f"--{name}", str(DATA / file))]
    done = bench(*tasks, "--lengths", "4k", "--samples", "2", *files, "--out", "o", *SCRIPTED)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in Path("o/results.jsonl").read_text().splitlines()]
    scores = {row["task"]: row["scores"] for row in rows}
    assert scores["squad_unanswerable"]["abstains"] == 1
    assert scores["fairytale"]["f1"] == 0


@needs_data
def test_a_length_beyond_the_data_is_refused_before_anything_is_asked() -> None:
    squad = str(DATA / "squad" / "dev-v1.1.jsonl.gz")
    code, sentence = failed(bench("qa_1", "--lengths", "4k,4m", "--squad", squad, "--out", "o", *SCRIPTED))
    assert code == 2
    assert "qa_1 cannot be 4m long: the paragraphs in" in sentence
    assert Path("o/results.jsonl").read_bytes() == b""


def test_failed_examples_end_with_4_and_the_same_command_retries_them() -> None:
    run = (
        "vt",
        "--lengths",
        "4k",
        "--samples",
        "3",
        "--reader",
        "direct",
        "--out",
        "o",
        "--model",
        "m",
        "--retries",
        "0",
    )
    with FaultServer([ok("no"), ok("a probe"), status(500), ok("no")]) as server:
        done = bench(*run, "--concurrency", "1", "--base-url", server.url, OPENAI_API_KEY="k")
        assert done.returncode == 4
        assert done.stderr.splitlines()[-1].startswith("Error: Failed examples: 1. They count as 0 (the causes")
        assert "1 failed" in done.stdout
        asked = len(server.requests)
        done = bench(*run, "--base-url", server.url, OPENAI_API_KEY="k")
        assert done.returncode == 0
        assert len(server.requests) == asked + 1 + 1  # and a probe: the server's counts do not follow the prompts


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_keeps_what_was_read(number: signal.Signals) -> None:
    run = ("vt", "--lengths", "4k", "--samples", "500", "--out", "o", *SCRIPTED, "--concurrency", "1")
    process = subprocess.Popen(
        [sys.executable, "-m", "memagent", "bench", *run],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    results = Path("o/results.jsonl")
    while not results.exists() or results.read_bytes().count(b"\n") < 10:
        time.sleep(0.01)
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (130, "")
    assert errors.splitlines()[-1] == "Interrupted. What was read is kept. Run the same command to resume."
    assert "Traceback" not in errors
    kept = results.read_bytes().count(b"\n")
    assert 10 <= kept < 500
    partial = bench("report", "o", "--json")
    assert partial.returncode == 0
    assert json.loads(partial.stdout)["cells"][0]["samples"] == kept
