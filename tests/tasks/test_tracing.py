from __future__ import annotations

import re
from itertools import pairwise

import pytest
from reader import chain

from memagent.core.prompts import NOTHING
from memagent.core.records import Segment
from memagent.core.tokenizer import ByteTokenizer, count
from memagent.errors import UsageError
from memagent.tasks.example import Length
from memagent.tasks.tracing import TracingTask

LENGTH = Length(6000)


def test_an_independent_reader_follows_one_chain_of_four_hops() -> None:
    for seed in range(200):
        example = TracingTask().example(LENGTH, 0, seed, ByteTokenizer())
        [value] = re.findall(r"assigned the value (\d{5}) in the text", example.question)
        worth = chain(example.document)
        assert set(worth.values()) == {value}
        assert list(worth) == list(example.answers)
        assert len(worth) == 5
        assert [fact.key for fact in example.facts] == list(example.answers)
        assert all(example.document[fact.start : fact.end] == fact.text for fact in example.facts)
        assert 0.99 * LENGTH.value <= example.tokens <= LENGTH.value


def test_one_short_example_with_names_of_three_letters_comes_first_in_the_whole_prompt() -> None:
    example = TracingTask().example(LENGTH, 0, 1, ByteTokenizer())
    shot, rest = example.prompt().split("\nMemorize and track", 1)
    assert shot.startswith("Memorize and track the chain(s)")
    names = re.findall(r"VAR ([A-Z]{3}) =", shot)
    assert len(set(names)) == 5
    assert shot.endswith("they are: " + " ".join(names))
    assert "VAR" not in example.question
    value = re.findall(r"value (\d{5})", example.question)[0]
    prefix = (
        " Answer: According to the chain(s) of variable assignment in the text above, 5 variables are assigned the "
        f"value {value}, they are: "
    )
    assert rest.endswith(example.question.split("\n\n")[1] + prefix)
    assert example.tokens == count(ByteTokenizer(), example.prompt()) + 30


def test_the_ideal_memory_holds_the_assignments_read_so_far() -> None:
    task = TracingTask()
    example = task.example(LENGTH, 0, 7, ByteTokenizer())
    end = example.facts[2].end
    cuts = [0, example.facts[0].start, end - 1, end, len(example.document)]
    segments = [Segment(a, b, example.document[a:b], 1) for a, b in pairwise(cuts)]
    memories = list(task.memories(example, segments))
    lines = [fact.text for fact in example.facts]
    assert memories == [NOTHING, "\n".join(lines[:2]), "\n".join(lines[:3]), "\n".join(lines)]


def test_a_length_too_short_is_refused() -> None:
    with pytest.raises(UsageError, match="No example of this task is as short as 1,024 tokens"):
        TracingTask().example(Length(1024), 0, 1, ByteTokenizer())
    with pytest.raises(UsageError, match="50p makes no sense"):
        TracingTask().example(Length(50, "paragraphs"), 0, 1, ByteTokenizer())
