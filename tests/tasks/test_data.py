from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from data import BOOKS, DATA

from memagent.errors import DocumentError, UsageError
from memagent.tasks import data
from memagent.tasks.data import HotpotQuestion, Paragraph, SquadPassage, SquadQuestion

needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"no data at {DATA}")

CONTEXT = "Paris was small. Then Paris grew, and in 1852 it was rebuilt."
ARTICLE: dict[str, Any] = {
    "title": "Paris",
    "paragraphs": [
        {
            "context": CONTEXT,
            "qas": [
                {
                    "id": "1",
                    "question": "What grew?",
                    "answers": [
                        {"text": "Paris", "answer_start": 22},
                        {"text": "Paris", "answer_start": 22},
                        {"text": "Paris grew", "answer_start": 22},
                    ],
                    "is_impossible": False,
                },
                {"id": "2", "question": "Who rebuilt it?", "answers": [], "is_impossible": True},
            ],
        },
        {"context": "No question is about this.", "qas": []},
    ],
}
PARIS = SquadPassage("Paris", CONTEXT, (SquadQuestion("What grew?", ("Paris", "Paris grew"), 22),))
SILENT = SquadPassage("Paris", "No question is about this.", ())

HOTPOT: dict[str, Any] = {
    "_id": "a",
    "question": "Where was the author of Emma born?",
    "answer": "Steventon",
    "supporting_facts": [["Emma", 0], ["Jane Austen", 1]],
    "context": [
        ["Emma", ["Emma is by Jane Austen.", " It is a novel."]],
        ["Jane Austen", ["A.", " Born in Steventon."]],
    ],
}
EMMA = HotpotQuestion(
    "Where was the author of Emma born?",
    "Steventon",
    (("Emma", ("Emma is by Jane Austen.", " It is a novel.")), ("Jane Austen", ("A.", " Born in Steventon."))),
    (("Emma", 0), ("Jane Austen", 1)),
)
HOTPOT_ROW = {
    **HOTPOT,
    "supporting_facts": {"title": ["Emma", "Jane Austen"], "sent_id": [0, 1]},
    "context": {"title": ["Emma", "Jane Austen"], "sentences": [sentences for _, sentences in HOTPOT["context"]]},
}


def lines(*rows: object) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_prose_is_a_file_or_a_folder_by_name_with_white_space_folded(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("the\n\n  end ", encoding="utf-8")
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"In the\tbeginning\n"))
    (tmp_path / "c.md").write_text("not prose", encoding="utf-8")
    assert data.load_prose(tmp_path / "b.txt") == "the end"
    assert data.load_prose(tmp_path) == "In the beginning the end"


def test_prose_may_be_json_as_ruler_ships_paul_grahams_essays(tmp_path: Path) -> None:
    (tmp_path / "essays.json").write_text('{"text": "One.\\n\\nTwo."}', encoding="utf-8")
    (tmp_path / "essays.jsonl").write_text(lines({"text": "One."}, {"text": "Two."}), encoding="utf-8")
    assert data.load_prose(tmp_path / "essays.json") == "One. Two."
    assert data.load_prose(tmp_path / "essays.jsonl") == "One. Two."


def test_words_are_lower_case_distinct_and_sorted(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("Zoo\n\napple\r\nzoo\nApple\nbee", encoding="utf-8")
    assert data.load_words(tmp_path / "words.txt") == ["apple", "bee", "zoo"]


def test_paragraphs_may_hold_every_kind_of_line_end(tmp_path: Path) -> None:
    row = {"title": "A", "text": "one\u2028two\x85three"}
    (tmp_path / "p.jsonl").write_text(json.dumps(row, ensure_ascii=False) + "\n\n", encoding="utf-8")
    assert data.load_paragraphs(tmp_path / "p.jsonl") == [Paragraph("A", "one\u2028two\x85three")]


def test_squad_is_the_same_in_all_its_forms(tmp_path: Path) -> None:
    (tmp_path / "official.json").write_text(json.dumps({"version": "v2.0", "data": [ARTICLE]}, indent=1))
    assert data.load_squad(tmp_path / "official.json") == [PARIS, SILENT]

    (tmp_path / "paragraphs.jsonl").write_text(
        lines(*({"title": "Paris", **paragraph} for paragraph in ARTICLE["paragraphs"]))
    )
    assert data.load_squad(tmp_path / "paragraphs.jsonl") == [PARIS, SILENT]

    answers = {"text": ["Paris", "Paris", "Paris grew"], "answer_start": [22, 22, 22]}
    nothing: dict[str, list[object]] = {"text": [], "answer_start": []}
    row = {"id": "1", "title": "Paris", "context": CONTEXT, "question": "What grew?", "answers": answers}
    (tmp_path / "rows.jsonl.gz").write_bytes(gzip.compress(lines(row, {**row, "answers": nothing}).encode()))
    assert data.load_squad(tmp_path / "rows.jsonl.gz") == [PARIS]


def test_plain_answers_of_squad_are_looked_for_in_the_context(tmp_path: Path) -> None:
    qas = [{"question": "When?", "answers": ["1852", "in 1852"]}]
    (tmp_path / "s.jsonl").write_text(lines({"title": "Paris", "context": CONTEXT, "qas": qas}))
    (passage,) = data.load_squad(tmp_path / "s.jsonl")
    assert passage.questions == (SquadQuestion("When?", ("1852", "in 1852"), CONTEXT.index("1852")),)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("official.json", json.dumps([HOTPOT], indent=1)),
        ("ours.jsonl", lines(HOTPOT)),
        ("rows.jsonl", lines(HOTPOT_ROW)),
        ("one-line.json", lines(HOTPOT)),
    ],
)
def test_hotpotqa_is_the_same_in_all_its_forms(name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    assert data.load_hotpotqa(tmp_path / name) == [EMMA]


WRONG: list[tuple[Callable[[Path], object], str, str, str]] = [
    (
        data.load_paragraphs,
        "p.jsonl",
        lines({"title": "A", "text": "B"}) * 16 + "{oops\n",
        "Line 17 of FILE is not JSON",
    ),
    (
        data.load_paragraphs,
        "p.jsonl",
        lines({"title": "A", "text": "B"}, {"title": "A"}),
        "Line 2 of FILE is not a para",
    ),
    (data.load_paragraphs, "p.jsonl", lines({"title": "A", "text": 5}), "text: Input should be a valid string"),
    (data.load_paragraphs, "p.jsonl", '{"title": "A", "text": "\\ud800"}', "text: 'utf-8' codec can't encode"),
    (data.load_paragraphs, "p.jsonl", lines(["A", "B"]), "Line 1 of FILE is not a JSON object"),
    (data.load_paragraphs, "p.jsonl", "\n \n", "FILE is empty"),
    (data.load_paragraphs, "p.json", "[]", "FILE has no entries"),
    (data.load_paragraphs, "p.json", '[{"title": "A",\n "text" "B"}]', "Line 2 of FILE is not JSON"),
    (data.load_words, "w.txt", "one\ntwo three\n", "Line 2 of FILE holds 2 words"),
    (data.load_words, "w.txt", "", "FILE is empty"),
    (data.load_prose, "p.json", '{"text": " "}', "FILE has no text in it"),
    (data.load_prose, "p.json", '{"essay": "A"}', "Entry 1 of FILE is not prose: text: Field required"),
    (data.load_squad, "s.json", '{"data": [{"title": "A"}]}', "Entry 1 of FILE is not a SQuAD entry"),
    (data.load_squad, "s.json", '{"data": [{"title": "A", "paragraphs": []}]}', "FILE has no question with an answer"),
    (
        data.load_squad,
        "s.jsonl",
        lines({"title": "A", "context": "B", "question": "C?", "answers": {"text": ["D"]}}),
        "Input should hold the lists text and answer_start",
    ),
    (
        data.load_squad,
        "s.jsonl",
        lines({"title": "A", "context": "B", "qas": [{"question": "C?", "answers": ["D"]}]}),
        "Line 1 of FILE has the answer 'D', which is not in its context",
    ),
    (
        data.load_squad,
        "s.jsonl",
        lines({"title": "A", "context": "B", "qas": [{"question": "C?", "answers": [""]}]}),
        "there is nothing in it",
    ),
    (
        data.load_hotpotqa,
        "h.json",
        json.dumps([{**HOTPOT, "answer": None}]),
        "Entry 1 of FILE is not a HotpotQA question",
    ),
    (data.load_hotpotqa, "h.json", json.dumps([{**HOTPOT, "context": [["Emma"]]}]), "context.0"),
    (
        data.load_hotpotqa,
        "h.json",
        json.dumps([{**HOTPOT, "supporting_facts": [["X", 0]]}]),
        "give HotpotQA's distractor",
    ),
]


@pytest.mark.parametrize(("load", "name", "content", "sentence"), WRONG)
def test_what_is_wrong_is_said_with_the_file_and_the_line(
    load: Callable[[Path], object], name: str, content: str, sentence: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DocumentError) as caught:
        load(tmp_path / name)
    assert sentence in str(caught.value).replace(str(tmp_path / name), "FILE")
    assert "\n" not in str(caught.value)


def test_paths_that_lead_nowhere(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match=r"There is no file or folder .*gone\.jsonl"):
        data.load_paragraphs(tmp_path / "gone.jsonl")
    with pytest.raises(DocumentError, match="is a folder: name the file in it"):
        data.load_squad(tmp_path)
    with pytest.raises(DocumentError, match=r"is a folder without a \.txt"):
        data.load_prose(tmp_path)
    (tmp_path / "latin.txt").write_bytes(b"fine\ncaf\xe9\n")
    with pytest.raises(DocumentError, match=r"Line 2 of .* is not UTF-8 text \(byte 0xe9\)"):
        data.load_words(tmp_path / "latin.txt")
    (tmp_path / "cut.txt.gz").write_bytes(gzip.compress(b"some text" * 99)[:-9])
    with pytest.raises(DocumentError, match="is damaged"):
        data.load_prose(tmp_path / "cut.txt.gz")


@needs_data
def test_the_development_data_is_read_whole() -> None:
    assert len(data.load_paragraphs(DATA / "wiki" / "paragraphs.jsonl.gz")) == 41_484
    passages = data.load_squad(DATA / "squad" / "dev-v1.1.jsonl.gz")
    assert (len(passages), sum(len(passage.questions) for passage in passages)) == (1_494, 7_164)
    assert len(data.load_hotpotqa(DATA / "hotpotqa" / "dev.jsonl.gz")) == 500
    words = data.load_words(DATA / "words" / "en.txt.gz")
    assert len(words) == len(set(words)) == 234_371
    prose = data.load_prose(BOOKS)
    assert 22_000_000 < len(prose) < 23_000_000
    assert "  " not in prose
    assert "\n" not in prose


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.mark.usefixtures("hub_cache")
def test_a_data_set_of_the_hub_may_be_a_local_folder(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "hotpot"
    folder.mkdir()
    (folder / "validation.jsonl").write_text(lines(HOTPOT_ROW))
    (folder / "train.jsonl").write_text(lines({**HOTPOT_ROW, "question": "Other?"}))
    assert data.load_hotpotqa(f"hub:{folder}") == [EMMA]
    assert data.load_hotpotqa(f"hub:{folder}@default:train")[0].question == "Other?"
    assert capfd.readouterr() == ("", "")
    with pytest.raises(DocumentError, match=r"cannot be loaded \(Unknown split \"test\""):
        data.load_hotpotqa(f"hub:{folder}:test")
    with pytest.raises(DocumentError, match=r"Row 1 of hub:.* is not a paragraph: title: Field required"):
        data.load_paragraphs(f"hub:{folder}")


@pytest.mark.usefixtures("hub_cache")
def test_rows_of_the_hub_in_its_own_format(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    answers = {"text": ["Paris", "Paris grew"], "answer_start": [22, 22]}
    row = {"id": "1", "title": "Paris", "context": CONTEXT, "question": "What grew?", "answers": answers}
    (tmp_path / "squad").mkdir()
    datasets.Dataset.from_list([row]).to_parquet(tmp_path / "squad" / "validation.parquet")
    assert data.load_squad(f"hub:{tmp_path / 'squad'}") == [PARIS]


@pytest.mark.usefixtures("hub_cache")
def test_a_hub_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DocumentError, match=r"hub:rajpurkar/squad_v2 cannot be fetched .*: check the network, or"):
        data.load_squad("hub:rajpurkar/squad_v2")


def test_the_hub_takes_a_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UsageError, match=r'pip install "memagent\[hub\]"'):
        data.load_squad("hub:rajpurkar/squad_v2")
    with pytest.raises(UsageError, match="does not name a data set"):
        data.load_squad("hub:@:")
