from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from make_documents import pdf

from memagent.core.prompts import NOTHING
from memagent.core.records import Segment
from memagent.core.tokenizer import ByteTokenizer
from memagent.errors import DocumentError, UsageError
from memagent.tasks.example import Example, Fact, Length, Task
from memagent.tasks.own_questions import load_own

OWN = Length(0, "own")
BYTES = ByteTokenizer()
LEASE = {"question": "Who signed?", "document": "The lease.\nAda Lovelace signed it.", "answers": ["Ada Lovelace"]}


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def only(folder: Path, **row: object) -> Example:
    return load_own(write(folder / "own.jsonl", row)).example(OWN, 0, 1, BYTES)


def test_a_line_is_an_example(tmp_path: Path) -> None:
    task: Task = load_own(write(tmp_path / "leases.jsonl", LEASE, {**LEASE, "question": "Who else?"}))
    assert (task.name, task.size, task.metrics, task.answer_tokens, task.placed) == (
        "leases",
        2,
        ("sub_em",),
        128,
        True,
    )
    document = "The lease.\nAda Lovelace signed it."
    prompt = "The lease.\nAda Lovelace signed it.\n\nQuestion: Who signed?\nAnswer:"
    assert task.example(OWN, 0, 1, BYTES) == Example(
        document,
        "Who signed?",
        ("Ada Lovelace",),
        (Fact("Ada Lovelace", "Ada Lovelace", 11, 23),),
        "{context}\n\nQuestion: Who signed?\nAnswer:",
        len(prompt) + 128,
        "Who signed?",
    )
    assert task.example(OWN, 0, 1, BYTES).prompt() == prompt
    assert task.example(OWN, 1, 2, BYTES).question == "Who else?"


def test_the_name_is_the_files_without_its_endings(tmp_path: Path) -> None:
    (tmp_path / "my.leases.jsonl.gz").write_bytes(gzip.compress(json.dumps(LEASE).encode()))
    assert load_own(tmp_path / "my.leases.jsonl.gz").name == "my.leases"


def test_a_path_is_relative_to_the_file_and_may_be_a_pdf(tmp_path: Path) -> None:
    (tmp_path / "papers").mkdir()
    pdf(tmp_path / "papers" / "lease.pdf", ["The lease of 1843.", "Signed: Ada Lovelace."])
    example = only(tmp_path, question="Who signed?", path="papers/lease.pdf", answer="Ada Lovelace")
    assert "The lease of 1843." in example.document
    (fact,) = example.facts
    assert example.document[fact.start : fact.end] == "Ada Lovelace"


def test_a_document_outside_of_the_folder_is_refused_unless_it_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("The key is 7.")
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "link.txt").symlink_to(tmp_path / "secret.txt")
    for path in ("../secret.txt", str(tmp_path / "secret.txt"), "link.txt"):
        file = write(tmp_path / "tasks" / "own.jsonl", {"question": "Which key?", "path": path, "answer": "7"})
        with pytest.raises(DocumentError, match=f"names {path}, which is outside the file's folder"):
            load_own(file)
        example = load_own(file, anywhere=True).example(OWN, 0, 0, ByteTokenizer())
        assert example.document == "The key is 7."


def test_a_fact_is_where_an_answer_first_stands_as_whole_words(tmp_path: Path) -> None:
    text = "In 1984, 19 of 19 (C++) left; 東京都です。"
    assert only(tmp_path, question="How many?", document=text, answer="19").facts == (Fact("19", "19", 9, 11),)
    assert only(tmp_path, question="What?", document=text, answer="C++").facts[0].start == text.index("C++")
    assert only(tmp_path, question="Where?", document=text, answer="東京").facts[0].start == text.index("東京")
    assert only(tmp_path, question="When?", document=text, answer="198").facts == ()


def test_where_any_answer_will_do_one_of_them_is_the_fact_and_where_all_are_wanted_each(tmp_path: Path) -> None:
    row = {"question": "Who?", "document": "Bob met Ann and Ann left.", "answers": ["Eve", "Ann", "Bob"]}
    assert [fact.key for fact in only(tmp_path, **row).facts] == ["Ann"]
    every = only(tmp_path, **row, scorer="string_match_all").facts
    assert every == (Fact("Ann", "Ann", 8, 11), Fact("Bob", "Bob", 0, 3))


def test_the_ideal_memory_holds_the_answers_that_were_read(tmp_path: Path) -> None:
    task = load_own(write(tmp_path / "own.jsonl", LEASE))
    example = task.example(OWN, 0, 1, BYTES)
    segments = [Segment(0, 15, example.document[:15], 15), Segment(15, 34, example.document[15:], 19)]
    assert list(task.memories(example, segments)) == [NOTHING, "Ada Lovelace"]


def test_a_document_or_a_question_that_looks_like_a_template_is_none(tmp_path: Path) -> None:
    example = only(tmp_path, question="What is {context}?", document="{context} is a word.", answer="a word")
    assert example.prompt() == "{context} is a word.\n\nQuestion: What is {context}?\nAnswer:"
    assert example.prompt("cut") == "cut\n\nQuestion: What is {context}?\nAnswer:"


def test_the_scorer_is_the_files(tmp_path: Path) -> None:
    path = write(tmp_path / "own.jsonl", {**LEASE, "scorer": "f1"}, {**LEASE, "scorer": "f1"})
    assert load_own(path).metrics == ("f1",)


WRONG: list[tuple[object, str]] = [
    (
        {**LEASE, "scorer": "f1"},
        "Line 17 of FILE has the scorer f1, but the lines before it have another (sub_em if none",
    ),
    ({**LEASE, "scorer": "best"}, "Line 17 of FILE has the unknown scorer 'best': give one of string_match_all,"),
    ({**LEASE, "question": 5}, "Line 17 of FILE is not a question: question: Input should be a valid string"),
    ({**LEASE, "question": "  "}, "Line 17 of FILE is not a question: question: there is nothing in it"),
    ({**LEASE, "answers": ["", "a"]}, "Line 17 of FILE is not a question: answers.0: there is nothing in it"),
    ({**LEASE, "anwers": ["a"]}, "Line 17 of FILE is not a question: anwers: Extra inputs are not permitted"),
    ({**LEASE, "answers": []}, "Line 17 of FILE needs either answers (a list) or answer"),
    ({**LEASE, "answer": "a"}, "Line 17 of FILE needs either answers (a list) or answer"),
    ({**LEASE, "path": "lease.txt"}, "Line 17 of FILE needs either document or path"),
    ({"question": "Who?", "answer": "a"}, "Line 17 of FILE needs either document or path"),
    ({"question": "Who?", "answer": "a", "path": "gone.pdf"}, "Line 17 of FILE: There is no file or folder"),
    ({"question": "Who?", "answer": "a", "path": "own.jsonl/x"}, "Line 17 of FILE: There is no file or folder"),
    (["Who?"], "Line 17 of FILE is not a JSON object"),
]


@pytest.mark.parametrize(("row", "sentence"), WRONG)
def test_a_wrong_line_is_said_when_the_file_is_loaded(row: object, sentence: str, tmp_path: Path) -> None:
    path = write(tmp_path / "own.jsonl", *[LEASE] * 16, row, LEASE)
    with pytest.raises(DocumentError) as caught:
        load_own(path)
    assert sentence in str(caught.value).replace(str(path), "FILE")


def test_a_line_that_is_not_json(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    path.write_text((json.dumps(LEASE) + "\n") * 16 + '{"question": "Who?",\n', encoding="utf-8")
    with pytest.raises(DocumentError, match=r"Line 17 of .*own\.jsonl is not JSON: .* at column \d+; fix it"):
        load_own(path)


def test_a_length_or_a_number_that_it_has_not(tmp_path: Path) -> None:
    task = load_own(write(tmp_path / "own.jsonl", LEASE))
    with pytest.raises(UsageError, match="own has documents with a length of their own, so 8k does not apply"):
        task.example(Length(8192), 0, 1, BYTES)
    with pytest.raises(UsageError, match=r"own has 1 questions, too few for example 1 \(counted from 0\)"):
        task.example(OWN, 1, 1, BYTES)
