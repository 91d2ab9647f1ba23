"""Eight questions on one document, and the memories and answers of a perfect reader."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from reader import chain

from memagent.core.prompts import NOTHING
from memagent.core.scoring import METRICS
from memagent.core.segments import segments
from memagent.core.tokenizer import ByteTokenizer
from memagent.tasks.example import Example, Length
from memagent.tasks.fitting import TooShort
from memagent.tasks.lighthouses import make_demo
from memagent.tasks.practice import mixture
from memagent.tasks.practice.mixture import ABSENT, PracticeExample, PracticeTask

TOKENIZER = ByteTokenizer()
LENGTH = Length(12_000)
TASK = PracticeTask(make_demo(50_000).document)


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    return [TASK.example(LENGTH, number, 3, TOKENIZER) for number in range(240)]


def memories(example: Example) -> Iterator[str]:
    return TASK.memories(example, segments([example.document], 2000, TOKENIZER))


def test_eight_questions_share_a_document_and_the_next_eight_another(examples: list[Example]) -> None:
    documents = [example.document for example in examples]
    assert all(len(set(documents[start : start + 8])) == 1 for start in range(0, 240, 8))
    assert len(set(documents)) == 30
    assert len({example.question for example in examples}) == 240
    assert all(0.99 * LENGTH.value <= example.tokens <= LENGTH.value for example in examples)


def test_facts_stand_where_they_are_said_to_and_hold_their_keys(examples: list[Example]) -> None:
    for example in examples:
        for fact in example.facts:
            assert example.document[fact.start : fact.end] == fact.text
            assert fact.key in fact.text


def test_the_last_memory_holds_every_answer_and_nothing_that_was_replaced(examples: list[Example]) -> None:
    for example in examples:
        *_, last = memories(example)
        if example.answers == (ABSENT,):
            assert last == NOTHING
            assert not example.facts
            continue
        assert METRICS["string_match_all"](last, example.answers) == 1
        assert isinstance(example, PracticeExample)
        if example.replaced:
            assert [last] == [fact.text for fact in example.facts]
            earlier = [fact.text for fact in example.replaced]
            seen = list(dict.fromkeys(memories(example)))
            assert [each for each in (*earlier, last) if each in seen] == [each for each in seen if each != NOTHING]
    assert {isinstance(each, PracticeExample) and bool(each.replaced) for each in examples} == {True, False}


def test_needles_stand_among_their_like(examples: list[Example]) -> None:
    asked = [example for example in examples if "magic uuid" in example.question]
    assert any(example.document.count("special magic uuids for") > 30 for example in asked)


def test_a_document_too_short_for_its_questions_gets_others(monkeypatch: pytest.MonkeyPatch) -> None:
    length = Length(4_500)
    for number in range(160):
        example = TASK.example(length, number, 3, TOKENIZER)
        assert 0.99 * length.value <= example.tokens <= length.value
        assert all(example.document[fact.start : fact.end] == fact.text for fact in example.facts)
    monkeypatch.setattr(mixture, "_TRIES", 1)
    with pytest.raises(TooShort):
        [TASK.example(length, number, 3, TOKENIZER) for number in range(0, 160, 8)]


def test_no_choice_of_questions_fits_into_nothing() -> None:
    with pytest.raises(TooShort, match="practice cannot be 100 long"):
        TASK.example(Length(100), 0, 3, TOKENIZER)


def test_what_is_absent_has_no_answer_in_the_document(examples: list[Example]) -> None:
    absent = [example for example in examples if example.answers == (ABSENT,)]
    assert len(absent) > 10
    for example in absent:
        subject = example.question.split(" mentioned")[0].split()[-1]  # the key, in questions for needles
        if "magic" in example.question:
            assert f"for {subject} is" not in example.document


def test_a_chain_is_worth_its_value(examples: list[Example]) -> None:
    chains = [example for example in examples if "variable assignment" in example.question]
    assert chains
    for example in chains:
        value = example.question.split("value ")[1].split()[0]
        worth = chain(example.document)
        assert {name for name in worth if worth[name] == value} == set(example.answers)
