from __future__ import annotations

from pathlib import Path

import pytest

from memagent.errors import UsageError
from memagent.rl.config import as_dict, load_config, load_parts, presets


def test_the_presets_are_whole() -> None:
    assert presets() == ["nano", "paper-14b", "paper-7b", "reader", "smollm2", "smollm2-policy"]
    for name in presets():
        for part in load_parts(preset=name):
            assert part.warmup.steps + part.rl.steps >= 1


def test_a_file_and_single_settings(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('seed = 3\n[rl]\nkl = 0.001\n[problems]\ntasks = ["vt"]\n', encoding="utf-8")
    config = load_config(file, sets=["rl.group=4", "problems.metric=sub_em", "problems.lengths=['1k', '2k']"])
    assert (config.seed, config.rl.kl, config.rl.group, config.problems.metric) == (3, 0.001, 4, "sub_em")
    assert config.problems.tasks == ("vt",)
    assert config.problems.lengths == ("1k", "2k")
    assert as_dict(config)["rl"]["clip_high"] == 0.28


@pytest.mark.parametrize(
    ("text", "sets", "message"),
    [
        ("[rl]\ngroups = 4", [], r"There is no setting rl\.groups"),
        ("colour = 1", [], "There is no setting colour"),
        ("[rl]\ngroup = 1", [], r"The setting rl\.group is wrong: Input should be greater than or equal to 2"),
        ("[rl]\ncredit = 'some'", [], r"The setting rl\.credit is wrong"),
        ("[rl", [], "is not TOML"),
        ("", ["rl.group"], "--set takes section.key=value, not 'rl.group'"),
        ("seed = 1", ["seed.x=1"], "seed is not a section"),
        ("", ["rl.learning_rate=fast"], r"The setting rl\.learning_rate is wrong"),
    ],
)
def test_what_is_wrong_is_told(text: str, sets: list[str], message: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=message):
        load_config(file, sets=sets)


def test_there_must_be_one_configuration(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no preset mini: give nano, paper-14b, paper-7b, reader, smollm2,"):
        load_config(preset="mini")
    with pytest.raises(UsageError, match="give a TOML file, or --preset NAME"):
        load_config()
    with pytest.raises(UsageError, match="cannot be read"):
        load_config(tmp_path / "none.toml")
