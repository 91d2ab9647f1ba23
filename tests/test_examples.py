"""The examples run, and the README's snippets are theirs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def output(*command: str) -> str:
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, check=True, cwd=ROOT).stdout


def test_a_loop_driven_by_hand() -> None:
    assert output("examples/own_loop.py").splitlines()[-1] == "\\boxed{in the oven}"


def test_a_stream_of_turns() -> None:
    assert output("examples/stream.py").splitlines() == [
        "Nothing yet.",
        "The compass is in the oven.",
        "\\boxed{in the oven}",
        "in the oven",
    ]
