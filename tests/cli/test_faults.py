"""The program against a misbehaving server: how it ends, and how the same command then goes on."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest
from fault_server import Body, Fault, FaultServer, Reply, cut, hang, ok, raw, status
from inside import inside

from memagent.runs.run import Run

TEXT = "".join(f"Sentence number {n} says that key{n} is {n * n}.\n" for n in range(120))
TURNS = 5  # four segments and the answer


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "book.txt").write_text(TEXT)


def ask(server: FaultServer, *options: str) -> subprocess.CompletedProcess[str]:
    """Segments have 1,500 bytes: estimates start at 3 bytes a token, and nothing can be learnt from this server."""
    options = ("--model", "m", "--base-url", server.url, "--run", "run", "--segment-tokens", "500", "--quiet", *options)
    return inside("ask", "Why?", "book.txt", *options, OPENAI_API_KEY="k")


def texts() -> list[str]:
    return [turn.completion.text for turn in Run(Path("run")).trace.turns]


FAULTS: list[tuple[Fault, int, str]] = [
    (status(500), 4, "failed with status 500 in 2 tries"),
    (status(429, headers={"Retry-After": "0"}), 4, "(429) in 2 tries"),
    (hang, 4, "sent nothing for 0.5 seconds in 2 tries"),
    (cut(ok("half")), 4, "connection"),
    (raw('{"choices": [{"mess'), 4, "not a chat completion"),
    (raw("<html><body>Hello</body></html>", "text/html"), 4, "web page"),
    (raw('{"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": []}'), 4, "without text"),
    (status(404, {"error": {"message": "The model `m` does not exist.", "code": "model_not_found"}}), 4, "m"),
    (status(401), 4, "OPENAI_API_KEY"),
    (ok(None, finish="length", message={"reasoning_content": "Hm."}), 4, "raise --memory-tokens"),
]


@pytest.mark.parametrize(("fault", "code", "sentence"), FAULTS, ids=[sentence for _, _, sentence in FAULTS])
def test_a_fault_ends_with_a_sentence_and_the_same_command_goes_on(fault: Fault, code: int, sentence: str) -> None:
    with FaultServer([ok("m1", usage=None), ok("m2", usage=None), fault]) as server:
        done = ask(server, "--retries", "1", "--timeout", "0.5")
    assert (done.returncode, done.stdout) == (code, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("Error: ")
    assert sentence in line
    assert texts() == ["m1", "m2"]

    with FaultServer([ok("m3", usage=None), ok("m4", usage=None), ok("\\boxed{so}", usage=None)]) as server:
        done = ask(server)
        assert len(server.requests) == TURNS - 2
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "so")
    assert texts() == ["m1", "m2", "m3", "m4", "\\boxed{so}"]


def test_a_busy_server_is_waited_for() -> None:
    busy = status(429, headers={"Retry-After": "1"})
    with FaultServer([busy, status(500), ok("m", usage=None)]) as server:
        began = time.perf_counter()
        done = ask(server)
        assert len(server.requests) == TURNS + 2
    assert done.returncode == 0
    assert time.perf_counter() - began > 1


def test_a_window_that_overflows_is_read_in_halves() -> None:
    def narrow(body: Body) -> Reply:
        messages = body["messages"]
        assert isinstance(messages, list)
        fits = len(messages[0]["content"]) < 1600
        message = "This model's maximum context length is 400 tokens."
        fault = (
            ok("m", usage=None)
            if fits
            else status(400, {"error": {"message": message, "code": "context_length_exceeded"}})
        )
        return fault(body)

    with FaultServer([narrow]) as server:
        done = ask(server)
    assert done.returncode == 0
    pieces = [turn.request.segment for turn in Run(Path("run")).trace.memories]
    assert "".join(piece.text for piece in pieces if piece) == TEXT
    assert len(pieces) > TURNS - 1
