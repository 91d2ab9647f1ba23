"""The examples run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from data import DATA, needs_data
from safetensors.torch import load_file, save_file

from memagent.tasks.data import load_squad

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


@needs_data
def test_squad_is_parted_by_title(tmp_path: Path) -> None:
    train, test = tmp_path / "train.jsonl", tmp_path / "test.jsonl"
    squad = DATA / "squad" / "dev-v1.1.jsonl.gz"
    assert output("examples/split_squad.py", str(squad), str(train), str(test)).split()[-2:] == ["24", "12"]
    parts = [load_squad(path) for path in (train, test)]
    titles = [{passage.title for passage in part} for part in parts]
    assert not titles[0] & titles[1]
    assert sorted(map(repr, [*parts[0], *parts[1]])) == sorted(map(repr, load_squad(squad)))


def test_an_adapter_is_shipped_in_half_the_size(tmp_path: Path) -> None:
    from memagent.models.reader_defaults import ReaderDefaults, load_reader_defaults

    checkpoint, out = tmp_path / "checkpoint", tmp_path / "out"
    checkpoint.mkdir()
    weights = {"layer.lora_A.weight": torch.linspace(-1, 1, 4096).reshape(64, 64)}
    save_file(weights, checkpoint / "adapter_model.safetensors")
    (checkpoint / "adapter_config.json").write_text('{"r": 64}', encoding="utf-8")
    (checkpoint / "training.pt").write_bytes(b"not this")
    ReaderDefaults().save(checkpoint)
    size = int(output("examples/ship.py", str(checkpoint), str(out)).split()[0].replace(",", ""))
    assert sorted(file.name for file in out.iterdir()) == [
        "adapter_config.json", "adapter_model.safetensors", "memagent.json",
    ]  # fmt: skip
    assert 2 * 4096 < size < 2 * 4096 + 200
    assert load_reader_defaults(out) == ReaderDefaults()
    shipped = load_file(out / "adapter_model.safetensors")
    torch.testing.assert_close(
        shipped["layer.lora_A.weight"].float(), weights["layer.lora_A.weight"], atol=1e-3, rtol=0
    )


@pytest.mark.slow
def test_an_agent_with_a_calculator_is_trained(tmp_path: Path) -> None:
    """Test its parts and a few steps; LOG.md says how well it learns."""
    program = (
        "import sys; sys.path.insert(0, 'examples'); from pathlib import Path; from dataclasses import replace; "
        "import calculator as c; config = replace(c.CONFIG, warmup=replace(c.CONFIG.warmup, steps=2), "
        "rl=replace(c.CONFIG.rl, steps=1, problems=2)); "
        f"print(c.calculate('4 7 * 8 6'), '|', c.calculate('4 0 4 2 + 1 5'), '|', c.calculate('7 7'), '|', "
        f"*[c.learn(Path({str(tmp_path / 'run')!r}), config) for _ in range(2)])"
    )
    assert output("-c", program).splitlines()[-1] == "4 0 4 2 | 4 0 5 7 | error | (0.0, 0.0) (0.0, 0.0)"
