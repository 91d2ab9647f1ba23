"""Questions of SQuAD and HotpotQA that share documents."""

from __future__ import annotations

import pytest
from data import DATA, needs_data

from memagent.segments import segments
from memagent.tasks.catalog import Data
from memagent.tasks.example import NOTHING, Length
from memagent.tasks.practice import ABSENT
from memagent.tokenizer import ByteTokenizer

TOKENIZER = ByteTokenizer()
SOURCES = Data(
    squad=str(DATA / "squad" / "dev-v1.1.jsonl.gz"),
    hotpotqa=str(DATA / "hotpotqa" / "train.jsonl.gz"),
    paragraphs=str(DATA / "wiki" / "paragraphs.jsonl.gz"),
)


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
