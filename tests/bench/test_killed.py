from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "killed.py"


def start(out: Path, delay: float) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, str(PROGRAM), str(out), str(delay)])


def lines(out: Path) -> int:
    path = out / "results.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.mark.slow
def test_200_examples_killed_twice_give_the_same_results_as_an_undisturbed_run(tmp_path: Path) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    for until in (50, 120):
        process = start(killed, 0.004)
        while lines(killed) < until:
            assert process.poll() is None, "it ended before it was killed"
            time.sleep(0.005)
        process.kill()
        assert process.wait() == -9
    assert until <= lines(killed) < 200
    assert not (killed / "results.json").exists()
    assert start(killed, 0).wait() == 0
    assert start(whole, 0).wait() == 0
    assert (killed / "results.json").read_bytes() == (whole / "results.json").read_bytes()
    cells = json.loads((whole / "results.json").read_text())["cells"]
    assert sum(cell["samples"] for cell in cells if cell["metric"] == "string_match_all") == 200
    assert len({cell["score"] for cell in cells}) > 2
