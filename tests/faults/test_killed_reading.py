"""After kill -9 at random points of a reading, no finished call is paid for twice; each kill loses at most one call."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest
from fault_server import Body, FaultServer, Reply, ok

from memagent.runs.run import Run

KILLS = 100
TURNS = 260
SENTENCE = "The river runs slowly past the old mills of the valley. "


def counting(body: Body) -> Reply:
    """Reply with the highest code seen so far; each section has one."""
    text = body["messages"][0]["content"]
    seen = [int(number) for number in re.findall(r"code-(\d+)", text)]
    reply = f"code-{max(seen, default=0)}" if "<section>" in text else f"\\boxed{{code-{max(seen, default=0)}}}"
    return ok(reply, usage={"prompt_tokens": len(text) // 4, "completion_tokens": 5})(body)


@pytest.mark.slow
def test_a_reading_that_is_killed_a_hundred_times(tmp_path: Path) -> None:
    document = tmp_path / "codes.txt"
    document.write_text("\n\n".join(f"{SENTENCE * 6}The code is code-{number}." for number in range(1, TURNS)))
    draw = random.Random(7)
    kills = 0
    with FaultServer([counting], pause=0.02) as server:
        command = [
            *(sys.executable, "-m", "memagent", "ask", "Which code comes last?", str(document), "--model", "m"),
            *("--base-url", server.url, "--run", str(tmp_path / "run"), "--segment-tokens", "100", "--json", "--quiet"),
        ]
        environment = os.environ | {"OPENAI_API_KEY": "k"}
        while True:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
            if kills < KILLS:
                asked = len(server.requests)
                _wait_for(server, asked + draw.randrange(1, 6), process, draw.random() * 0.04)
                process.kill()
                kills += process.poll() is None or process.wait() == -9
            out, err = process.communicate()
            if process.returncode == 0:
                break
            assert process.returncode == -9, err.decode()
    answer = json.loads(out)
    assert answer["answer"] == f"code-{TURNS - 1}"
    finished = [turn.request.messages[0].content for turn in Run(tmp_path / "run").trace.turns]
    paid = Counter(body["messages"][0]["content"] for body in server.bodies if body["max_tokens"] != 16)
    assert kills == KILLS
    assert set(finished) <= set(paid)
    assert sum(paid.values()) - len(finished) <= kills


def _wait_for(server: FaultServer, asked: int, process: subprocess.Popen[bytes], longer: float) -> None:
    """Wait until the server has had `asked` requests or the process has ended, and then `longer` seconds more."""
    while len(server.requests) < asked and process.poll() is None:
        threading.Event().wait(0.003)
    threading.Event().wait(longer)
