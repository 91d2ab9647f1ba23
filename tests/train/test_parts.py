from __future__ import annotations

from pathlib import Path

import pytest
from tiny import SETS, metrics, run

from memagent.errors import UsageError
from memagent.rl.config import load_config, load_parts
from memagent.train.folder import newest
from memagent.train.parts import train_parts
from memagent.train.processes import Processes

TWO = """
seed = 3
[policy]
model = "nano"
[problems]
tasks = ["colours"]
segment_tokens = 24
[[parts]]
problems.segment_tokens = 12
[[parts]]
seed = 4
[parts.rl]
steps = 7
"""


def test_a_part_has_its_own_settings_on_top_of_the_common_ones(tmp_path: Path) -> None:
    file = tmp_path / "two.toml"
    file.write_text(TWO, encoding="utf-8")
    first, second = load_parts(file, sets=["rl.group=5"])
    assert (first.seed, first.problems.segment_tokens, first.rl.steps, first.rl.group) == (3, 12, 100, 5)
    assert (second.seed, second.problems.segment_tokens, second.rl.steps, second.rl.group) == (4, 24, 7, 5)
    assert second.problems.tasks == ("colours",)
    assert [part.seed for part in load_parts(file, sets=["seed=9"])] == [9, 9]
    with pytest.raises(UsageError, match="has 2 parts"):
        load_config(file)


@pytest.mark.parametrize("text", ["parts = 2", "[parts]\nseed = 1", "parts = [1]"])
def test_what_is_no_part_is_told(text: str, tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=r"write \[\[parts\]\]"):
        load_parts(file)


@pytest.mark.slow
def test_a_part_goes_on_with_the_policy_of_the_one_before(tmp_path: Path) -> None:
    sets = ["warmup.steps=2", "rl.steps=0"]
    parts = [load_config(preset="nano", sets=[*SETS, *sets, f"seed={seed}"]) for seed in (1, 2)]
    seen: list[tuple[int, int]] = []

    def train() -> None:
        train_parts(
            parts, tmp_path / "both", Processes(),
            on_part=lambda number, many: seen.append((number, many)),
            on_step=lambda stage, step, steps, figures: seen.append((step, steps)),
            say=lambda sentence: None,
        )  # fmt: skip

    train()
    assert seen == [(1, 2), (1, 2), (2, 2), (2, 2), (1, 2), (2, 2)]
    first = run(tmp_path / "first", *sets, "seed=1")
    place = newest(tmp_path / "first")
    second = run(tmp_path / "second", *sets, "seed=2", f"policy.model='{place}'")
    assert metrics(tmp_path / "both" / "part-1") == first
    assert metrics(tmp_path / "both" / "part-2") == second
    assert newest(tmp_path / "both") == tmp_path / "both" / "part-2" / "checkpoints" / "warmup-000002"
    seen.clear()
    train()  # all parts are done, so no step is taken
    assert seen == [(1, 2), (2, 2)]
