"""An interrupted training names its checkpoint and the command that goes on from it."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny import SETS

from memagent.cli.train import _kept
from memagent.train.folder import newest


@pytest.mark.slow
def test_the_command_in_the_last_sentence_goes_on(tmp_path: Path) -> None:
    changes = [word for change in (*SETS, "warmup.steps=100000") for word in ("--set", change)]
    arguments = ["train", "--preset", "nano", "--out", "a run", *changes]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "memagent", *arguments], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while newest(tmp_path / "a run") is None and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    place = newest(tmp_path / "a run")
    assert place is not None
    step = int(place.name.removeprefix("warmup-"))
    said, command = errors.splitlines()[-1].split(" To resume from it, run: memagent ")
    assert said == f"Interrupted. The checkpoint a run/checkpoints/{place.name} (step {step:,}) is kept."
    again = subprocess.run(
        [sys.executable, "-m", "memagent", *shlex.split(command), "--minutes", "0"],
        check=False, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert again.returncode == 5
    assert f"Stopped after warmup step {step + 1} because the time limit was reached" in again.stderr


def test_without_a_checkpoint_the_command_starts_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["memagent", "train", "my settings.toml"])
    assert _kept(tmp_path, 1) == " There is no checkpoint yet. To start again, run: memagent train 'my settings.toml'"
    assert _kept(tmp_path, 2) == " There is no checkpoint yet. To start again, run the same command."
