"""Questions of SQuAD and HotpotQA that share documents."""

from __future__ import annotations

import re

import pytest
from data import DATA, needs_data

from memagent.core.prompts import NOTHING
from memagent.core.scoring import find_words
from memagent.core.segments import segments
from memagent.core.tokenizer import ByteTokenizer
from memagent.tasks.catalog import Data
from memagent.tasks.example import Length
from memagent.tasks.practice.mixture import ABSENT
from memagent.tasks.practice.shared import PracticeQuestions

TOKENIZER = ByteTokenizer()
SOURCES = Data(
    squad=str(DATA / "squad" / "dev-v1.1.jsonl.gz"),
    hotpotqa=str(DATA / "hotpotqa" / "train.jsonl.gz"),
    paragraphs=str(DATA / "wiki" / "paragraphs.jsonl.gz"),
    unanswerable=str(DATA / "squad" / "unanswerable-v2.0.jsonl.gz"),
)


@pytest.mark.slow
@needs_data
@pytest.mark.parametrize(("name", "together"), [("practice_squad", 8), ("practice_hotpotqa", 4)])
def test_questions_share_a_document_that_answers_most_of_them(name: str, together: int) -> None:
    [task] = SOURCES.tasks([name])
    length = Length(12_000)
    examples = [task.example(length, number, 5, TOKENIZER) for number in range(15 * together)]
    documents = [example.document for example in examples]
    assert all(len(set(documents[at : at + together])) == 1 for at in range(0, len(documents), together))
    assert len(set(documents)) == 15
    assert len({example.query for example in examples}) == len(examples)
    absent = [example for example in examples if example.answers == (ABSENT,)]
    assert 0.02 < len(absent) / len(examples) < 0.3
    for example in examples:
        *_, last = task.memories(example, segments([example.document], 2000, TOKENIZER))
        assert (last == NOTHING) == (example in absent)
        for fact in example.facts:
            passage = example.document[fact.start : fact.end]
            assert fact.text.endswith(passage)
            assert fact.key in fact.text
        assert example.query in example.question


@pytest.mark.slow
@needs_data
@pytest.mark.parametrize(("name", "together"), [("practice_squad", 8), ("practice_hotpotqa", 4)])
def test_what_is_absent_stands_nowhere_near(name: str, together: int) -> None:
    [task] = SOURCES.tasks([name])
    assert isinstance(task, PracticeQuestions)
    asked = {each.question: each for each in task.asked}
    absent = 0
    for number in range(20 * together):
        example = task.example(Length(12_000), number, 5, TOKENIZER)
        if example.answers == (ABSENT,):
            absent += 1
            mine = asked[example.query]
            here = set(re.split(r"\n*Document \d+:\n", example.document))
            near = [task.task.text(paragraph) for paragraph in mine.near]
            assert not [text for text in near if text in here and any(find_words(text, each) for each in mine.answers)]
            assert not all(task.task.text(paragraph) in here for paragraph in mine.gold)
    assert absent > 3


@pytest.mark.slow
@needs_data
def test_a_document_too_short_for_its_questions_answers_fewer() -> None:
    [task] = SOURCES.tasks(["practice_squad"])
    length = Length(5_000)
    examples = [task.example(length, number, 5, TOKENIZER) for number in range(160)]
    absent = [sum(example.answers == (ABSENT,) for example in examples[at : at + 8]) for at in range(0, 160, 8)]
    assert max(absent) > 4
    assert all(example.tokens <= length.value for example in examples)


@needs_data
def test_squad_absent_asks_what_no_paragraph_of_the_article_tells() -> None:
    [task] = SOURCES.tasks(["squad_absent"])
    assert isinstance(task, PracticeQuestions)
    asked = {each.question: each for each in task.asked}
    for number in range(10):
        example = task.example(Length(12_000), number, 5, TOKENIZER)
        mine = asked[example.query]
        here = [text for text in map(task.task.text, mine.near) if text in example.document]
        assert len(here) > 2
        assert not any(find_words(text, answer) for text in here for answer in mine.answers)
        assert example.answers == (ABSENT,)
        assert not example.facts


@pytest.mark.slow
@needs_data
def test_articles_are_asked_about_with_near_misses_around() -> None:
    [task] = SOURCES.tasks(["practice_articles"])
    assert isinstance(task, PracticeQuestions)
    asked = {each.question: each for each in task.asked}
    examples = [task.example(Length(9_000), number, 7, TOKENIZER) for number in range(160)]
    absent = [example for example in examples if example.answers == (ABSENT,)]
    assert 0.15 < len(absent) / len(examples) < 0.6
    for at in range(0, 160, 16):
        assert len({tuple(asked[example.query].near) for example in examples[at : at + 16]}) == 1
    seeming = [example for example in absent if not asked[example.query].facts]
    assert len(seeming) > 10
    shown = [task.task.text(asked[example.query].gold[0]) in example.document for example in seeming]
    assert sum(shown) / len(shown) > 0.6  # the document shows the paragraph that seems to answer
    for example in examples:
        assert all(example.document[fact.start : fact.end] == fact.text for fact in example.facts)


@needs_data
def test_a_second_hop_comes_after_the_first() -> None:
    [task] = SOURCES.tasks(["practice_hops"])
    assert isinstance(task, PracticeQuestions)
    asked = {each.question: each for each in task.asked}
    led = 0
    for number in range(80):
        example = task.example(Length(12_000), number, 3, TOKENIZER)
        for first, second in asked[example.query].before if example.facts else ():
            led += 1
            places = [example.document.find(task.task.text(paragraph)) for paragraph in (first, second)]
            assert 0 <= places[0] < places[1]
    assert led > 15


@needs_data
def test_squad_unanswerable_shows_the_paragraph_that_seems_to_answer() -> None:
    [task] = SOURCES.tasks(["squad_unanswerable"])
    assert isinstance(task, PracticeQuestions)
    asked = {each.question: each for each in task.asked}
    for number in range(16):
        example = task.example(Length(12_000), number, 5, TOKENIZER)
        assert task.task.text(asked[example.query].gold[0]) in example.document
        assert (example.answers, example.facts) == ((ABSENT,), ())
