"""A training run on disk: settings, metrics, checkpoints, sampled traces. The same command resumes it after any stop.

OUT/config.json            the settings; the run refuses others
OUT/metrics.jsonl          one line per step, with the accuracies if it was evaluated
OUT/checkpoints/rl-000050  a policy that `ask` and `bench` can use, and training.pt with all that resuming needs
OUT/traces/rl-000050.jsonl one rollout, a line per turn
OUT/tensorboard/rl/        the metrics for TensorBoard
OUT/wandb.id               the run of Weights & Biases, if there is one
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count, takewhile
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from uuid import uuid4

import torch
from filelock import FileLock, Timeout

from memagent.errors import RunError, StorageError, UsageError
from memagent.models.reader_defaults import FILE as DEFAULTS
from memagent.rl.config import TrainConfig, as_dict
from memagent.rl.rollouts import Rollout
from memagent.rl.run_settings import bind
from memagent.train.policy import Policy

STATE = "training.pt"


class TrainingFolder:
    """The folder of a training run, locked by one run at a time.

    Args:
        first: whether this is the process that writes. The others only read.

    Raises:
        UsageError: it is a file.
        RunError: another process is training there, or the run was started with other settings.
        StorageError: it cannot be written.
    """

    def __init__(self, folder: Path, config: TrainConfig, first: bool = True) -> None:
        self.folder = folder
        self.metrics = folder / "metrics.jsonl"
        self.checkpoints = folder / "checkpoints"
        self._boards: dict[str, Any] = {}
        self._wandb: Any = None
        self._lock = FileLock(folder / ".lock")
        if not first:
            return
        with writing(folder):
            if folder.is_file():
                raise UsageError(f"{folder} is a file: give --out a folder.")
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            try:
                self._lock.acquire(timeout=0)
            except Timeout:
                raise RunError(
                    f"Another process is training in {folder}: wait for it, or give another --out."
                ) from None
            bind(config, folder)
            if config.watch.wandb:
                self._wandb = _wandb_run(folder, config.watch.wandb, as_dict(config))

    def close(self) -> None:
        for board in self._boards.values():
            board.close()
        if self._wandb:
            self._wandb.finish()
        self._lock.release()

    # -- metrics ------------------------------------------------------------------------------------------------------

    def record(self, stage: str, step: int, figures: dict[str, Any]) -> None:
        """Add a line of metrics, and the same figures to TensorBoard and Weights & Biases."""
        with writing(self.metrics), self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"stage": stage, "step": step, **figures}) + "\n")
        if stage not in self._boards:
            from torch.utils.tensorboard import SummaryWriter

            # purge_step hides what an interrupted run wrote from this step on.
            self._boards[stage] = SummaryWriter(str(self.folder / "tensorboard" / stage), purge_step=step)
        for name, value in figures.items():
            if isinstance(value, int | float):
                self._boards[stage].add_scalar(name, value, step)
        if self._wandb:
            self._wandb.log({f"{stage}/step": step, **{f"{stage}/{name}": value for name, value in figures.items()}})

    def keep_trace(self, stage: str, step: int, rollout: Rollout) -> None:
        """Write a sampled rollout for people to look at."""
        path = self.folder / "traces" / f"{stage}-{step:06}.jsonl"
        with writing(path):
            path.parent.mkdir(exist_ok=True)
            lines = [{"problem": rollout.problem, "answer": rollout.answer, "reward": rollout.reward}]
            for turn in rollout.trace.turns:
                prompt = [message.content for message in turn.request.messages]
                lines.append({"turn": turn.index, "prompt": prompt, "completion": turn.completion.text})
            path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")

    # -- checkpoints --------------------------------------------------------------------------------------------------

    def save(self, stage: str, step: int, policy: Policy, state: dict[str, Any]) -> Path:
        """Save policy and state as the newest checkpoint, all or nothing, and remove older ones of the same stage.

        Returns:
            The folder of the checkpoint.
        """
        place = self.checkpoints / f"{stage}-{step:06}"
        temporary = self.checkpoints / f".{place.name}"
        with writing(place):
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir()
            policy.save(temporary)
            size = 0
            if self.metrics.exists():
                _sync(self.metrics)
                size = self.metrics.stat().st_size
            _save({"stage": stage, "step": step, "metrics": size, **state}, temporary / STATE)
            for file in temporary.iterdir():
                _sync(file)
            shutil.rmtree(place, ignore_errors=True)
            temporary.rename(place)
            _sync(self.checkpoints)
        for old in _saved(self.folder):
            if old != place and old.name.startswith(f"{stage}-"):
                shutil.rmtree(old, ignore_errors=True)
        return place

    def load(self, place: Path) -> dict[str, Any]:
        """Load the state of a checkpoint, on the CPU.

        Raises:
            RunError: the checkpoint is damaged.
        """
        try:
            state: dict[str, Any] = torch.load(place / STATE, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, UnpicklingError, LookupError) as error:
            raise RunError(
                f"The checkpoint {place} is damaged ({error}): remove it to resume from the one before."
            ) from error
        return state

    def forget(self, size: int) -> None:
        """Drop the metrics after `size` bytes, which will be written again, and a last line torn by a power cut."""
        with writing(self.metrics):
            if self.metrics.exists():
                kept = self.metrics.read_bytes()[:size].partition(b"\0")[0]
                os.truncate(self.metrics, kept.rfind(b"\n") + 1)


def _wandb_run(folder: Path, project: str, settings: dict[str, Any]) -> Any:
    """A run of Weights & Biases. A resumed training run continues the same one: its id is kept in the folder."""
    try:
        import wandb
    except ImportError as error:
        raise UsageError("The setting watch.wandb needs Weights & Biases: pip install 'memagent[wandb]'.") from error
    path = folder / "wandb.id"
    if not path.exists():
        path.write_text(uuid4().hex, encoding="utf-8")
    name = "/".join(folder.absolute().parts[-2:])
    try:
        run = wandb.init(
            project=project, name=name, id=path.read_text(encoding="utf-8"), resume="allow", dir=str(folder),
            config=settings, allow_val_change=True,
        )  # fmt: skip
    except wandb.Error as error:
        raise UsageError(
            f"Weights & Biases did not start a run ({error}): run `wandb login`, or set WANDB_MODE=offline."
        ) from error
    for stage in ("warmup", "rl"):  # each counts its own steps
        run.define_metric(f"{stage}/*", step_metric=f"{stage}/step")
    return run


def _sync(path: Path) -> None:
    """Wait until a file or a folder is on the disk."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def part_folder(out: Path, number: int) -> Path:
    """The folder of part `number` (from 1) of a run with several parts."""
    return out / f"part-{number}"


def newest(folder: Path) -> Path | None:
    """The newest checkpoint of a run, or of its last part if it has several; None if there is none."""
    parts = takewhile(Path.is_dir, (part_folder(folder, number) for number in count(1)))
    saved = [place for each in (folder, *parts) for place in _saved(each)]
    return saved[-1] if saved else None


def stage_end(folder: Path, stage: str) -> Path | None:
    """The newest checkpoint of a stage; None if there is none."""
    return next((place for place in reversed(_saved(folder)) if place.name.startswith(f"{stage}-")), None)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl; none if there is no such file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a failure of the disk into a StorageError that names `path`."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError, _TornFile) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or error
        raise StorageError(
            f"{path} cannot be written ({why}): make room, then run the same command to resume from the last "
            "checkpoint."
        ) from error


class _TornFile(Exception):
    """torch could not write a whole file."""


def _save(state: dict[str, Any], path: Path) -> None:
    try:
        torch.save(state, path)
    except RuntimeError as error:  # torch's writer raises it for any failure of the disk
        raise _TornFile(str(error).splitlines()[0]) from error


def _saved(folder: Path) -> list[Path]:
    """The complete checkpoints, oldest first; the warm start's come before those of RL."""
    order = {"warmup": 0, "rl": 1}
    found = [place for place in (folder / "checkpoints").glob("*-*") if (place / DEFAULTS).is_file()]
    found = [place for place in found if not place.name.startswith(".")]
    return sorted(found, key=lambda place: (order.get(place.name.split("-")[0], 0), place.name))
