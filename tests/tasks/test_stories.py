"""Questions on stories: the sentences that hold the answers, and documents that leave some of them out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from data import DATA, needs_data

from memagent.core.prompts import NOTHING
from memagent.core.scoring import find_words
from memagent.core.segments import segments
from memagent.core.tokenizer import ByteTokenizer
from memagent.errors import DocumentError
from memagent.tasks.catalog import Data
from memagent.tasks.data import Story, StoryQuestion, load_stories
from memagent.tasks.example import Length
from memagent.tasks.practice.mixture import ABSENT
from memagent.tasks.stories import StoryTask, _told, fairytale

TOKENIZER = ByteTokenizer()


def asked(question: str, answer: str, *sections: int, explicit: bool = True) -> StoryQuestion:
    return StoryQuestion(question, (answer,), sections, explicit)


def test_the_sentences_that_hold_an_answer_are_found_in_the_marked_section() -> None:
    text = "The miller had a cat. One day the cat stole a silver spoon from him. It hid it under the oak."
    story = Story(
        "Cat",
        ("A silver spoon lay on the table.", text),
        (
            asked("What did the cat steal?", "a silver spoon", 1),
            asked("What did the cat do with the spoon?", "stole it and hid it under the oak", 1),
            asked("Why?", "it was hungry", 1),
            asked("How did the miller feel?", "a silver spoon", 1, explicit=False),
        ),
    )
    found = [(each.question.question, each.section, each.text, each.key) for each in _told(story)]
    assert found == [
        ("What did the cat steal?", 1, "One day the cat stole a silver spoon from him.", "a silver spoon"),
        (
            "What did the cat do with the spoon?",
            1,
            "One day the cat stole a silver spoon from him. It hid it under the oak.",
            "stole",
        ),
    ]
    for each in _told(story):
        assert text[each.start : each.start + len(each.text)] == each.text


@needs_data
def test_questions_share_a_document_and_their_facts_stand_in_it() -> None:
    task = fairytale(DATA / "fairytaleqa" / "val.jsonl.gz")
    length = Length(24_000)
    examples = [task.example(length, number, 1, TOKENIZER) for number in range(24)]
    documents = [example.document for example in examples]
    assert [len(set(documents[at : at + 8])) for at in (0, 8, 16)] == [1, 1, 1]
    assert len(set(documents)) == 3
    for example in examples:
        assert 0.99 * length.value <= example.tokens <= length.value
        [fact] = example.facts
        assert " ".join(example.document[fact.start : fact.end].split()) == fact.text
        assert find_words(fact.text, fact.key)
        *_, last = task.memories(example, segments([example.document], 4000, TOKENIZER))
        assert last == fact.text


@needs_data
def test_what_was_left_out_of_a_story_is_not_answered_by_the_document() -> None:
    [task] = Data(stories=str(DATA / "fairytaleqa" / "train.jsonl.gz")).tasks(["practice_stories"])
    assert isinstance(task, StoryTask)
    answers = {
        question.question: question.answers
        for story in task.stories
        for question in story.questions
        if question.explicit
    }
    examples = [task.example(Length(9_000), number, 2, TOKENIZER) for number in range(96)]
    absent = [example for example in examples if example.answers == (ABSENT,)]
    assert 0.1 < len(absent) / len(examples) < 0.4
    for example in absent:
        assert not example.facts
        own = example.document  # includes the neighbouring stories, which must not hold a long answer either
        assert not any(len(answer) > 20 and find_words(own, answer) for answer in answers[example.question])
        *_, last = task.memories(example, segments([example.document], 4000, TOKENIZER))
        assert last == NOTHING


def test_a_story_that_is_none_is_said(tmp_path: Path) -> None:
    file = tmp_path / "stories.jsonl"
    qas = [{"question": "Who?", "answers": ["he"], "sections": [3], "scope": "local", "kind": "explicit"}]
    file.write_text(json.dumps({"title": "T", "sections": ["It was he."], "qas": qas}))
    with pytest.raises(DocumentError, match="a question on a section that the story does not have"):
        load_stories(file)
    file.write_text(json.dumps({"title": "T", "qas": []}))
    with pytest.raises(DocumentError, match="is not a story of FairytaleQA: sections"):
        load_stories(file)
