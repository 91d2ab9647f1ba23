"""After kill -9 at random points of a benchmark, every example is there exactly once, and little is read again."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from fault_server import FaultServer, ok

KILLS = 8
SAMPLES = 10
READERS = ("memory", "truncate")


@pytest.mark.slow
def test_a_benchmark_that_is_killed_eight_times(tmp_path: Path) -> None:
    draw = random.Random(11)
    with FaultServer([ok("\\boxed{7}", finish="stop")], pause=0.05) as server:

        def command(name: str) -> list[str]:
            return [
                *(sys.executable, "-m", "memagent", "bench", "niah_single_1", "vt", "--lengths", "4k"),
                *("--samples", str(SAMPLES), "--reader", ",".join(READERS), "--window", "8192", "--quiet"),
                *("--model", "m", "--base-url", server.url, "--out", str(tmp_path / name), "--segment-tokens", "700"),
            ]

        environment = os.environ | {"OPENAI_API_KEY": "k"}
        subprocess.run(command("whole"), env=environment, check=True, capture_output=True)
        needed = len(server.requests)
        for _ in range(KILLS):
            asked = len(server.requests)
            process = subprocess.Popen(
                command("killed"), env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
            while len(server.requests) < asked + draw.randrange(1, 8) and process.poll() is None:
                threading.Event().wait(0.003)
            process.kill()
            process.communicate()
        last = subprocess.run(command("killed"), env=environment, check=False, capture_output=True)
        assert last.returncode == 0, last.stderr.decode()
        asked = len(server.requests) - needed
    lines = [json.loads(line) for line in (tmp_path / "killed" / "results.jsonl").read_text().splitlines()]
    keys = {(line["task"], line["number"], line["reader"]) for line in lines}
    assert len(lines) == len(keys) == 2 * SAMPLES * len(READERS)
    assert {line["status"] for line in lines} == {"done"}
    assert asked <= needed + KILLS * (16 + 3)  # for each start, at most 16 calls in flight, and a few probes
