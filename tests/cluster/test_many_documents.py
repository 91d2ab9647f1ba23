"""Many documents over Ray Data, while a worker is killed twice."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray")

import pyarrow
import pyarrow.parquet
import ray
from fault_server import Body, FaultServer, Reply, ok

EXAMPLE = Path(__file__).parents[2] / "examples" / "many_documents.py"
QUESTION = "Which key does the keeper hide?"
DOCUMENTS, AT_ONCE, KILLS, PAUSE = 200, 4, 2, 0.2
FILLER = "The sea was grey that morning at lighthouse {}, and nobody spoke of it. "


def text(number: int) -> str:
    """Return a document of a few segments, all different from those of the others."""
    filler = FILLER.format(number) * 12
    return f"{filler}\n\n{filler}The keeper of lighthouse {number} hides the key {7 * number + 1000}.\n\n{filler}"


def reply(body: Body) -> Reply:
    """Reply like a model that notes the sentence about the key, or else the name of the lighthouse."""
    prompt = body["messages"][-1]["content"]
    fact = re.search(r"The keeper of lighthouse \d+ hides the key (\d+)\.", prompt)
    if prompt.rstrip().endswith("Your answer:"):
        said = f"\\boxed{{{fact[1] if fact else 'unknown'}}}"
    else:
        said = fact[0] if fact else re.findall(r"lighthouse \d+", prompt)[-1]
    return ok(said, usage=None)(body)  # without counts, memagent sends no extra prompts to check them


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Start Ray and yield its address."""
    folder = tempfile.mkdtemp(dir="/tmp", prefix="r")  # Ray's sockets need a short path
    ray.init(address="local", num_cpus=2, include_dashboard=False, _temp_dir=folder)
    yield ray.get_runtime_context().gcs_address
    ray.shutdown()
    shutil.rmtree(folder)


def command(cluster: str, server: FaultServer, folder: Path, *more: str) -> subprocess.Popen[str]:
    options = ["--runs", str(folder / "runs"), "--model", "m", "--base-url", server.url, "--reader", "overwrite"]
    options += ["--segment-tokens", "300", "--memory-tokens", "100", "--at-once", str(AT_ONCE), *more]
    return subprocess.Popen(
        [sys.executable, str(EXAMPLE), *options], env={**os.environ, "RAY_ADDRESS": cluster}, text=True,
        stdout=subprocess.PIPE, cwd=folder,
    )  # fmt: skip


def reading(runs: Path) -> set[int]:
    """Return the processes that have a journal open in which three turns are finished."""
    found = set()
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):  # the process, or the file, was closed
            file = Path(os.readlink(link))
            if file.is_relative_to(runs) and b'"turn": 2' in file.read_bytes():
                found.add(int(link.parts[2]))
    return found


def wait_for(condition: Callable[[], Any]) -> Any:
    until = time.monotonic() + 120
    while not (value := condition()):
        assert time.monotonic() < until
        time.sleep(0.05)
    return value


def kill_one(runs: Path, but: set[int]) -> None:
    """Kill a worker that is reading and not in `but`."""
    worker = wait_for(lambda: reading(runs) - but).pop()
    time.sleep(PAUSE / 2)  # its next calls are in progress
    os.kill(worker, signal.SIGKILL)


def test_a_worker_is_killed_twice(cluster: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "texts").mkdir()
    for number in range(DOCUMENTS):
        (tmp_path / "texts" / f"{number}.txt").write_text(text(number))
    (tmp_path / "texts" / "empty.txt").touch()
    (tmp_path / "questions").write_text(f"{QUESTION}\n")
    arguments = ("texts", "answers.jsonl", "--questions", "questions")
    with FaultServer([reply], pause=PAUSE) as server:
        with command(cluster, server, tmp_path, *arguments) as process:
            workers: set[int] = set()
            while len(workers) < 2:
                workers |= wait_for(lambda: reading(tmp_path / "runs"))
            kill_one(tmp_path / "runs", set())
            kill_one(tmp_path / "runs", workers)  # the one that was started in its place
            said = process.communicate()[0]
        assert f"{DOCUMENTS} answered, 1 failed: answers.jsonl\n" in said  # Ray prints there too, about the kills
        assert process.returncode == 1
        paid = Counter(request.raw for request in server.requests)
        again = Counter(re.findall(rb"lighthouse \d+", raw)[-1] for raw in paid for _ in range(paid[raw] - 1))
        with capsys.disabled():
            print(f"\n{DOCUMENTS} questions answered, {paid.total()} calls, {again.total()} of them paid twice")
        assert again.total() <= KILLS * AT_ONCE
        assert max(again.values(), default=0) <= KILLS  # one call of a question for each kill

        rows = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
        assert {row["name"]: row["answer"] for row in rows[:-1]} == {
            f"{number}.txt": str(7 * number + 1000) for number in range(DOCUMENTS)
        }
        assert len(rows) == DOCUMENTS + 1
        for row in rows[:-1]:
            for place in row["citations"]:
                assert Path(place["document"]).read_text()[place["start"] : place["end"]] == place["quote"]
            assert row["citations"]
        assert "empty" in rows[-1]["error"]

        with command(cluster, server, tmp_path, *arguments) as process:  # again, and nothing is paid for
            assert process.communicate()[0] == f"{DOCUMENTS} answered, 1 failed: answers.jsonl\n"
        assert len(server.requests) == paid.total()
        assert [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()] == rows


def test_parquet(cluster: str, tmp_path: Path) -> None:
    """A document may be a text or a path, and one that is missing does not end the job."""
    (tmp_path / "2.txt").write_text(text(2))
    documents = [("one", text(1)), (None, str(tmp_path / "2.txt")), ("three", str(tmp_path / "3.txt")), ("none", None)]
    rows = [{"name": name, "document": document, "question": QUESTION} for name, document in documents]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "asked.parquet")
    with FaultServer([reply]) as server:
        with command(cluster, server, tmp_path, "asked.parquet", "answers.parquet") as process:
            assert process.communicate()[0] == "2 answered, 2 failed: answers.parquet\n"
        with command(cluster, server, tmp_path, "asked.parquet", "answers.parquet", "-q", QUESTION) as process:
            assert (process.communicate()[0], process.returncode) == ("", 2)
    found = {row["name"]: row for row in pyarrow.parquet.read_table(tmp_path / "answers.parquet").to_pylist()}
    assert {name: row["answer"] for name, row in found.items()} == {
        "one": "1007", str(tmp_path / "2.txt"): "1014", "three": None, "none": None,
    }  # fmt: skip
    assert [place["document"] for place in found["one"]["citations"]] == ["one"]
    assert "3.txt" in found["three"]["error"]
