"""`memagent.json`, the defaults of a model, may come from a stranger's folder."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from memagent.core.budget import Budget
from memagent.core.prompts import prompts_for
from memagent.errors import ModelError
from memagent.models.reader_defaults import FILE, ReaderDefaults, load_reader_defaults


def test_reader_defaults_come_back_as_they_were_saved(tmp_path: Path) -> None:
    assert load_reader_defaults(tmp_path) == ReaderDefaults()
    defaults = ReaderDefaults(prompts_for("section-first", "sentence"), Budget(100, 200, 30, 40), "collect")
    defaults.save(tmp_path)
    assert load_reader_defaults(tmp_path) == defaults


@pytest.mark.parametrize(
    "change",
    [
        {"budget": {"segment": "5000"}}, {"budget": {"memory": 0}}, {"budget": [1]}, {"reader": "skim"},
        {"prompts": {"update": "Read {chunk}."}}, {"prompts": {"answer": 7}},
    ],
)  # fmt: skip
def test_strange_reader_defaults_are_refused(tmp_path: Path, change: dict[str, object]) -> None:
    (tmp_path / FILE).write_text(json.dumps(asdict(ReaderDefaults()) | change))
    with pytest.raises(ModelError, match=r"memagent\.json is damaged"):
        load_reader_defaults(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"7", b"\xff\xfe\x00"])
def test_what_is_no_json_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(ModelError, match="is damaged"):
        load_reader_defaults(tmp_path)


def test_files_of_before_call_the_readers_otherwise(tmp_path: Path) -> None:
    value = asdict(ReaderDefaults())
    del value["reader"]
    (tmp_path / FILE).write_text(json.dumps(value | {"memory": "extractive"}))
    assert load_reader_defaults(tmp_path) == ReaderDefaults(reader="extract")
