"""All of verl on the CPU: Ray, TransferQueue, the agent loop, the replay buffer, the trainer, and a sampler."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("verl")

import torch

from memagent.train.loading import load_policy
from memagent.train.nano import nano_policy

SETS = (
    "problems.tasks=['colours']",
    "problems.lengths=['48']",
    "problems.metric='f1'",  # an untrained policy is never quite right, but its f1 differs from rollout to rollout
    "warmup.steps=0",
    "rl.problems=4",
    "rl.group=4",
    "rl.optimiser_steps=2",
    "optimiser.decay=0",
    "optimiser.warmup_steps=0",
    "watch.evaluate_every=2",
    "watch.evaluate_samples=4",
    "watch.checkpoint_every=1",
    "watch.trace_every=0",
    "watch.lengths=['48']",
    "watch.final_lengths=[]",
)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an untrained policy."""
    folder = tmp_path_factory.mktemp("start")
    nano_policy(0).save(folder)
    return folder


@contextmanager
def training(start: Path, out: Path, *sets: str) -> Iterator[subprocess.Popen[str]]:
    """Start a training run, and end Ray with it."""
    script = str(Path(__file__).with_name("train_cpu.py"))
    given = [f"--set={each}" for each in (*SETS, f"policy.model='{start}'", *sets)]
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="ray") as folder:  # the paths of Ray's sockets must be short
        process = subprocess.Popen(
            [sys.executable, script, "--preset", "nano", "--out", str(out), *given],
            env=os.environ | {"RAY_TMPDIR": folder, "RAY_AUTH_MODE": "disabled"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def finished(start: Path, out: Path, *sets: str) -> tuple[int, str]:
    """Train to the end. Returns the exit status and the output."""
    with training(start, out, *sets) as process:
        said, _ = process.communicate(timeout=280)
        return process.returncode, said


def metrics(out: Path) -> list[dict[str, Any]]:
    path = out / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def distance(one: Path, other: Path) -> float:
    first, second = (load_policy(each).model.state_dict() for each in (one, other))
    return max(float((first[name] - second[name]).abs().max()) for name in first)


def steps(lines: Sequence[dict[str, Any]]) -> list[int]:
    return [line["step"] for line in lines]


def test_a_run_that_is_killed_and_resumed(start: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with training(start, out, "rl.steps=3") as process:
        until = time.monotonic() + 250
        while steps(metrics(out)) != [1, 2]:  # verl saves a checkpoint before it writes the metrics of its step
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.2)
        os.killpg(process.pid, signal.SIGKILL)
    status, said = finished(start, out, "rl.steps=3")
    assert status == 0, said[-3000:]
    found = metrics(out)
    assert steps(found) == [1, 2, 3]
    assert all(line["groups_kept"] == 4 <= line["groups_drawn"] for line in found)
    assert 0 <= found[1]["accuracy_48"] <= 1
    assert torch.tensor([line["loss"] for line in found]).isfinite().all()
    places = [out / "checkpoints" / f"rl-{step:06d}" for step in (1, 2, 3)]
    moved = [distance(one, other) for one, other in zip([start, *places], places, strict=False)]
    assert all(each > 1e-5 for each in moved)
    assert load_policy(places[-1]).defaults == load_policy(start).defaults


def test_rollouts_that_fail(start: Path, tmp_path: Path) -> None:
    """The reward of an even number of characters raises an error."""
    status, said = finished(start, tmp_path, "problems.metric='fails_now_and_then'", "rl.steps=2")
    assert status == 0, said[-3000:]
    found = metrics(tmp_path)
    assert steps(found) == [1, 2]
    assert all(0 < line["rollouts_failed"] < 16 for line in found)


def test_a_reward_that_always_fails(start: Path, tmp_path: Path) -> None:
    status, said = finished(start, tmp_path, "problems.metric='fails'", "rl.steps=2", "rl.draws=1")
    assert status == 2
    assert "Error: verl failed: " in said
    assert "no materializable trajectories" in said
    assert not metrics(tmp_path)


def test_a_sampler_that_is_killed(start: Path, tmp_path: Path) -> None:
    with training(start, tmp_path, "rl.steps=50", "rl.draws=1") as process:
        until = time.monotonic() + 250
        while not metrics(tmp_path):
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.2)
        subprocess.run(["pkill", "-KILL", "-s", str(process.pid), "-f", "ray::CpuServer"], check=True)
        said, _ = process.communicate(timeout=250)
    assert process.returncode == 2
    assert "Run the same command to resume from its last checkpoint" in said


def test_settings_that_verl_cannot_follow(start: Path, tmp_path: Path) -> None:
    status, said = finished(start, tmp_path / "run", "rl.weighting='rollout'")
    assert status == 2
    assert "Error: verl counts all tokens of a batch the same: set rl.weighting to token." in said
