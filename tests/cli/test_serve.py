"""`memagent serve`, as a user starts and stops it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import keeper
import pytest
from inside import inside


@pytest.fixture
def script(tmp_path: Path) -> str:
    path = tmp_path / "script.jsonl"
    path.write_text(json.dumps("\n".join(keeper.FACTS)) + "\n")
    return f"scripted:{path}"


@contextmanager
def started(*arguments: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start the command. Yields its process and its address."""
    command = [sys.executable, "-m", "memagent", "serve", "--port", "0", *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env={**os.environ, **environment}) as process:
        try:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(4)]
            found = re.search(r"page +(http://\S+)/$", lines[1])
            assert found, lines
            yield process, found[1]
        finally:
            if process.poll() is None:
                process.kill()


@pytest.mark.slow
def test_it_says_where_it_is_and_stops_when_asked(tmp_path: Path, script: str) -> None:
    folder = tmp_path / "state"
    with started("--model", script, "--folder", str(folder), "--window", "9000") as (process, address):
        assert address.startswith("http://127.0.0.1:")
        assert httpx2.get(f"{address}/health").json() == {"status": "ok"}
        assert "<title>" in httpx2.get(address).text
        second = inside("serve", "--model", script, "--folder", str(folder), "--port", "0")
        assert (second.returncode, second.stdout) == (2, "")
        assert "Another memagent service is using" in second.stderr
        form = {"question": keeper.QUESTION, "documents": [{"text": keeper.text(20)}]}
        secret = httpx2.post(f"{address}/api/readings", json=form).json()["id"]
        with httpx2.stream("GET", f"{address}/api/readings/{secret}/events") as events:
            assert next(events.iter_lines()) == "event: reading"
            process.send_signal(signal.SIGTERM)  # Ctrl-C may be ignored where tests run
            _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert said.endswith("Interrupted. Unfinished readings go on when the service starts again.\n")
    assert "Traceback" not in said
    assert secret in said
    assert keeper.QUESTION not in said
    assert "lighthouse" not in said


@pytest.mark.slow
def test_keys_come_from_a_file_and_the_environment(tmp_path: Path, script: str) -> None:
    keys = tmp_path / "keys"
    keys.write_text("the-first-key-0123\n\nthe-second-key-0123\n")
    more = ["--model", script, "--folder", str(tmp_path / "state"), "--key-file", str(keys), "--host", "0.0.0.0"]
    with started(*more, MEMAGENT_SERVE_KEY="the-third-key-0123") as (_, address):
        address = address.replace("0.0.0.0", "127.0.0.1")
        for key, status in (
            ("the-first-key-0123", 200), ("the-second-key-0123", 200), ("the-third-key-0123", 200), ("", 401),
        ):  # fmt: skip
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            assert httpx2.get(f"{address}/v1/models", headers=headers).status_code == status


def test_what_cannot_be_served_is_said_in_one_sentence(tmp_path: Path, script: str) -> None:
    empty, short = tmp_path / "empty", tmp_path / "short"
    empty.write_text("\n")
    short.write_text("short\n")
    file = tmp_path / "file"
    file.write_text("")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for arguments, status, says in (
            (["--host", "0.0.0.0"], 2, "Other machines can reach 0.0.0.0: give clients keys with --key-file"),
            (["--host", "::"], 2, "Other machines can reach ::"),
            (["--key-file", str(empty)], 2, f"There is no key in {empty}"),
            (["--key-file", str(short)], 2, "needs at least 16 characters"),
            (["--key-file", str(tmp_path / "none")], 2, "cannot be read"),
            (["--port", port], 2, f"cannot listen on 127.0.0.1 port {port}"),
            (["--host", "no.such.host.invalid", "--key-file", str(file)], 2, "There is no key"),
            (["--folder", str(file)], 5, "cannot be written"),
            (["--reader", "telepathy"], 2, "There is no reader telepathy"),
            (["--progress", "loud"], 2, "loud"),
            (["--read-over", "0"], 2, "--read-over"),
        ):
            more = [] if "--folder" in arguments else ["--folder", str(tmp_path / "state")]
            found = inside(
                "serve", "--model", script, *(["--port", "0"] if "--port" not in arguments else []), *more, *arguments
            )
            assert (found.returncode, found.stdout) == (status, ""), found
            assert says in found.stderr
            assert "Traceback" not in found.stderr
