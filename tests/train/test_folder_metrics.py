"""The metrics of a training: after a power cut, and in Weights & Biases."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from memagent.errors import UsageError
from memagent.rl.config import load_config
from memagent.train.folder import TrainingFolder, read_metrics


@pytest.mark.parametrize("torn", [b"", b"\0" * 500, b'{"stage": "rl", "st', b"\0\0{"])
@pytest.mark.parametrize("more", [0, 400])
def test_a_torn_or_padded_tail_is_dropped(tmp_path: Path, torn: bytes, more: int) -> None:
    run = TrainingFolder(tmp_path / "run", load_config(preset="nano"))
    run.record("rl", 1, {"loss": 0.5})
    run.record("rl", 2, {"loss": 0.4})
    whole = run.metrics.read_bytes()
    run.metrics.write_bytes(whole + torn)
    run.forget(len(whole) + more)
    assert run.metrics.read_bytes() == whole
    run.record("rl", 3, {"loss": 0.3})
    assert [line["step"] for line in read_metrics(run.metrics)] == [1, 2, 3]
    run.close()


def test_what_comes_after_the_checkpoint_is_forgotten(tmp_path: Path) -> None:
    run = TrainingFolder(tmp_path / "run", load_config(preset="nano"))
    run.record("rl", 1, {"loss": 0.5})
    size = run.metrics.stat().st_size
    run.record("rl", 2, {"loss": 0.4})
    run.forget(size)
    assert [line["step"] for line in read_metrics(run.metrics)] == [1]
    run.close()


class FakeWandb(ModuleType):
    """The part of the package wandb that is used: the module and, for simplicity, its only run."""

    class Error(Exception):
        pass

    def __init__(self) -> None:
        super().__init__("wandb")
        self.started: list[dict[str, Any]] = []
        self.logged: list[dict[str, Any]] = []
        self.steps: dict[str, str] = {}
        self.finished = 0

    def init(self, **options: Any) -> FakeWandb:
        if options["project"] == "unknown":
            raise self.Error("no API key")
        self.started.append(options)
        return self

    def define_metric(self, name: str, step_metric: str) -> None:
        self.steps[name] = step_metric

    def log(self, figures: dict[str, Any]) -> None:
        self.logged.append(figures)

    def finish(self) -> None:
        self.finished += 1


def test_metrics_go_to_one_run_of_weights_and_biases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    for step in (1, 2):  # the second time, the run is resumed
        run = TrainingFolder(tmp_path / "run", load_config(preset="nano", sets=["watch.wandb=mine"]))
        run.record("rl", step, {"reward": 0.5})
        run.close()
    first, second = wandb.started
    assert (first["project"], first["config"]["watch"]["wandb"]) == ("mine", "mine")
    assert (first["id"], first["resume"]) == (second["id"], "allow")
    assert wandb.logged == [{"rl/step": 1, "rl/reward": 0.5}, {"rl/step": 2, "rl/reward": 0.5}]
    assert wandb.steps["rl/*"] == "rl/step"
    assert wandb.finished == 2
    TrainingFolder(tmp_path / "run", load_config(preset="nano")).close()  # it may be turned off
    assert len(wandb.started) == 2


def test_weights_and_biases_that_cannot_be_used_gets_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)  # import wandb raises ImportError
    with pytest.raises(UsageError, match=r"pip install 'memagent\[wandb\]'"):
        TrainingFolder(tmp_path / "run", load_config(preset="nano", sets=["watch.wandb=mine"]))
    monkeypatch.setitem(sys.modules, "wandb", FakeWandb())
    with pytest.raises(UsageError, match=r"did not start a run \(no API key\): run `wandb login`"):
        TrainingFolder(tmp_path / "run", load_config(preset="nano", sets=["watch.wandb=unknown"]))
