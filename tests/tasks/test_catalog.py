from __future__ import annotations

from pathlib import Path

import pytest
from data import DATA, SMOLLM2, needs_data

from memagent.core.tokenizer import Tokenizer, count
from memagent.errors import DocumentError, UsageError
from memagent.models.weights import find_weights
from memagent.tasks.catalog import RULER, Data, fingerprint
from memagent.tasks.example import Length

ALL = Data(
    prose=str(DATA / "books"),
    squad=str(DATA / "squad" / "dev-v1.1.jsonl.gz"),
    hotpotqa=str(DATA / "hotpotqa" / "dev.jsonl.gz"),
    paragraphs=str(DATA / "wiki" / "paragraphs.jsonl.gz"),
    words=str(DATA / "words" / "en.txt.gz"),
)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    found = find_weights(SMOLLM2).tokenizer
    assert found is not None
    return found


def test_ruler_has_thirteen_tasks() -> None:
    assert [
        *("niah_single_1", "niah_single_2", "niah_single_3", "niah_multikey_1", "niah_multikey_2", "niah_multikey_3"),
        *("niah_multivalue", "niah_multiquery", "vt", "cwe", "fwe", "qa_1", "qa_2"),
    ] == RULER


@pytest.mark.slow
@needs_data
def test_every_task_keeps_its_length_to_within_1_percent(tokenizer: Tokenizer) -> None:
    for task in ALL.tasks(["ruler", "hqa"]):
        assert task.name in [*RULER, "hqa"]
        for length in (Length(2048), Length(5000), Length(16_384), Length(65_536)):
            for number in range(3):
                example = task.example(length, number, 7, tokenizer)
                assert 0.99 * length.value <= example.tokens <= length.value
                whole = len(tokenizer.encode(example.prompt())) + task.answer_tokens
                assert example.tokens == whole
                assert all(0 <= fact.start < fact.end <= len(example.document) for fact in example.facts)


@needs_data
@pytest.mark.slow
def test_a_million_tokens_keep_their_length_too(tokenizer: Tokenizer) -> None:
    length = Length(2**20)
    for task in ALL.tasks(["niah_single_1", "niah_multiquery", "niah_multikey_3", "vt", "cwe", "fwe", "hqa"]):
        example = task.example(length, 0, 7, tokenizer)
        assert 0.99 * length.value <= example.tokens <= length.value
        assert count(tokenizer, example.prompt()) + task.answer_tokens <= example.tokens


def test_tasks_that_need_data_say_which() -> None:
    with pytest.raises(UsageError, match="Data for niah_single_2 is missing: give --prose PATH, a text file"):
        Data().tasks(["vt", "niah_single_2"])
    with pytest.raises(UsageError, match="Data for qa_1 is missing: give --squad PATH"):
        Data().tasks(["qa_1"])
    with pytest.raises(UsageError, match="Data for qa_2 is missing: give --hotpotqa PATH"):
        Data().tasks(["qa_2"])


@needs_data
def test_hqa_needs_paragraphs_too() -> None:
    with pytest.raises(UsageError, match="Data for hqa is missing: give --paragraphs PATH"):
        Data(hotpotqa=ALL.hotpotqa).tasks(["hqa"])


def test_a_task_that_is_none_is_refused() -> None:
    with pytest.raises(
        UsageError, match=r"There is no task niah: give niah_single_1, .*, a JSONL file of your own, or FILE.py:NAME"
    ):
        Data().tasks(["niah"])
    with pytest.raises(DocumentError, match=r"missing\.jsonl"):
        Data().tasks(["missing.jsonl"])


def test_a_task_named_twice_is_taken_once() -> None:
    assert [task.name for task in Data().tasks(["vt", "fwe", "vt"])] == ["vt", "fwe"]


def test_a_fingerprint_is_of_the_bytes_not_of_the_name(tmp_path: Path) -> None:
    one, other = tmp_path / "one.txt", tmp_path / "other.txt"
    one.write_text("the same")
    other.write_text("the same")
    assert fingerprint(str(one)) == fingerprint(str(other))
    other.write_text("another")
    assert fingerprint(str(one)) != fingerprint(str(other))
    assert fingerprint("hub:rajpurkar/squad_v2") == "hub:rajpurkar/squad_v2"
    before = fingerprint(str(tmp_path))
    other.write_text("changed")
    assert fingerprint(str(tmp_path)) != before
