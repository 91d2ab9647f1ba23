"""What a power cut does to the metrics of a training."""

from __future__ import annotations

from pathlib import Path

import pytest

from memagent.train.config import load_config
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
