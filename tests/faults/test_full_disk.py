"""The disk is full after a number of bytes, at various places: there is one error, and nothing paid for is lost."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import make_documents
import pytest
from fault_server import Body, FaultServer, Reply, ok

from memagent.runs.run import Run

FACTS = 5
PLACES = 6


def counting(body: Body) -> Reply:
    """Reply with the highest code in memory and section; each section has one."""
    text = body["messages"][0]["content"]
    last = max(map(int, re.findall(r"code-(\d+)", text)), default=0)
    return ok(f"code-{last}" if "<section>" in text else f"\\boxed{{code-{last}}}")(body)


def run(command: Sequence[str], room: int | None = None, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
    """Run `memagent` so that no file can have more than `room` bytes."""

    def fill() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(room or 0), resource.RLIM_INFINITY))

    return subprocess.run(
        [sys.executable, "-B", "-m", "memagent", *command],
        input=stdin.decode(), capture_output=True, text=True, preexec_fn=fill if room is not None else None,
        env=os.environ | {"OPENAI_API_KEY": "k"}, check=False,
    )  # fmt: skip


def full(process: subprocess.CompletedProcess[str]) -> None:
    """Check that the process stopped because of the disk, and says so in one sentence."""
    assert process.returncode == 5, process.stderr
    assert "Traceback" not in process.stderr
    assert "cannot be written" in process.stderr.splitlines()[-1]


@pytest.fixture
def document(tmp_path: Path) -> Path:
    path = tmp_path / "codes.txt"
    sentence = "The river runs slowly past the old mills of the valley. "
    path.write_text("\n\n".join(f"{sentence * 6}The code is code-{number}." for number in range(1, FACTS + 1)))
    return path


@pytest.mark.slow
def test_a_reading(tmp_path: Path, document: Path) -> None:
    with FaultServer([counting]) as server:

        def command(name: str) -> list[str]:
            return [
                *("ask", "Which code comes last?", str(document), "--model", "m", "--base-url", server.url, "--quiet"),
                *("--segment-tokens", "100", "--run", str(tmp_path / name)),
            ]

        assert run(command("whole")).returncode == 0
        size, asked = (tmp_path / "whole" / "journal.jsonl").stat().st_size, len(server.bodies)
        turns = len(Run(tmp_path / "whole").trace.turns)
        for place in range(PLACES):
            begun, name = len(server.bodies), f"run-{place}"
            stopped = run(command(name), room=size * place // PLACES)
            if stopped.returncode != 0:  # the citations come last, and may be made again
                full(stopped)
            finished = run(command(name))
            assert finished.returncode == 0, finished.stderr
            assert f"code-{FACTS}" in finished.stdout
            assert len(Run(tmp_path / name).trace.turns) == turns
            paid = Counter(body["messages"][0]["content"] for body in server.bodies[begun:] if body["max_tokens"] != 16)
            assert sum(paid.values()) <= asked + 1
            assert max(paid.values()) <= 2  # the call whose turn did not fit


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["piped", "pdf", "html"])
def test_a_document_that_is_kept_or_converted(tmp_path: Path, document: Path, kind: str) -> None:
    """The temporary folder is full, while the journal has room."""
    content = document.read_bytes()
    name = "-"
    if kind == "pdf":
        name = str(make_documents.pdf(tmp_path / "codes.pdf", [content.decode()[:500]] * 40))
    elif kind == "html":
        name = str(tmp_path / "codes.html")
        Path(name).write_bytes(b"<p>" + content.replace(b"\n\n", b"</p><p>") * 40)
    with FaultServer([counting]) as server:
        command = ["ask", "Which code comes last?", name, "--model", "m", "--base-url", server.url, "--quiet"]
        for room in (0, 1000):
            stopped = run([*command, "--run", str(tmp_path / "run")], room, content * 40 if kind == "piped" else b"")
            full(stopped)
            assert "temporary folder" in stopped.stderr
        assert not server.bodies


@pytest.mark.slow
def test_a_benchmark(tmp_path: Path) -> None:
    with FaultServer([ok("\\boxed{7}")]) as server:

        def command(name: str) -> list[str]:
            return [
                *(
                    "bench",
                    "niah_single_1",
                    "--lengths",
                    "1k",
                    "--samples",
                    "2",
                    "--reader",
                    "memory,truncate",
                    "--window",
                    "8192",
                ),
                *("--model", "m", "--base-url", server.url, "--out", str(tmp_path / name), "--quiet"),
            ]

        whole = run(command("whole"))
        assert whole.returncode == 0, whole.stderr
        size = max(path.stat().st_size for path in (tmp_path / "whole").rglob("*") if path.is_file())
        asked = len(server.bodies)
        for place in range(PLACES):
            begun, name = len(server.bodies), f"out-{place}"
            stopped = run(command(name), size * place // PLACES)
            if stopped.returncode != 0:
                full(stopped)
            finished = run(command(name))
            assert finished.returncode == 0, finished.stderr
            assert len((tmp_path / name / "results.jsonl").read_text().splitlines()) == 4
            assert len(server.bodies) - begun <= asked + 2
