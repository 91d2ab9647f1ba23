from __future__ import annotations

import math
import re
from collections import Counter
from itertools import pairwise

import pytest
from data import SMOLLM2, needs_smollm2
from reader import listed

from memagent.core.records import Segment
from memagent.core.tokenizer import ByteTokenizer
from memagent.errors import UsageError
from memagent.models.weights import find_weights
from memagent.tasks.counting import CodedWords, CommonWords, _zipf
from memagent.tasks.example import Length

SHORT, LONG = Length(3000), Length(12_000)


@pytest.mark.slow
@pytest.mark.parametrize(("length", "often", "seldom"), [(SHORT, 6, 1), (LONG, 30, 3)], ids=str)
def test_an_independent_reader_counts_ten_common_words(length: Length, often: int, seldom: int) -> None:
    for seed in range(200):
        example = CommonWords().example(length, 0, seed, ByteTokenizer())
        tally = listed(example.document)
        assert Counter(tally.values())[often] == 10
        assert set(tally.values()) == {often, seldom}
        assert {word for word, times in tally.items() if times == often} == set(example.answers)
        assert {fact.key for fact in example.facts} == set(example.answers)
        assert all(example.document[fact.start : fact.end] == fact.key for fact in example.facts)
        assert 0.99 * length.value <= example.tokens <= length.value


def test_one_example_of_forty_words_comes_first_in_the_whole_prompt() -> None:
    example = CommonWords().example(LONG, 0, 1, ByteTokenizer())
    shot, rest = example.prompt().split("\nBelow is", 1)
    text, answer = shot.split(" Answer: The top 10 words that appear most often in the list are: ")
    tally = listed(text.split("often.\n")[1].split("\nQuestion")[0])
    assert sorted(tally.values()) == [3] * 30 + [10] * 10
    assert [word for _, word in re.findall(r"(\d+)\. (\S+)", answer)] == [
        word for _, word in re.findall(r"(\d+)\. (\S+)", answer) if tally[word] == 10
    ]
    assert len(answer.split()) == 20
    assert example.document in rest
    assert example.question == "Below is a numbered list of words. In these words, some appear more often than " + (
        "others. Memorize the ones that appear most often.\nQuestion: What are the 10 most common words in the above "
        "list?"
    )


def test_words_of_your_own_bound_the_length() -> None:
    words = [f"word{number}" for number in range(150)]
    with pytest.raises(UsageError, match="There are 150 words, too few for cwe at 12000: give more with --words"):
        CommonWords(words=words).example(LONG, 0, 1, ByteTokenizer())
    example = CommonWords(words=words).example(SHORT, 0, 1, ByteTokenizer())
    assert set(listed(example.document)) <= set(words)


def test_an_independent_reader_counts_coded_words_after_their_rank() -> None:
    for seed in range(200):
        example = CodedWords().example(SHORT, 0, seed, ByteTokenizer())
        tally = Counter(example.document.split())
        ranked = tally.most_common()
        assert ranked[0][0] == "..."
        assert [word for word, _ in ranked[1:4]] == list(example.answers)
        assert ranked[3][1] > ranked[4][1]
        words = sum(times for _, times in ranked)
        for rank, (_, times) in enumerate(ranked[:4], 1):
            assert times == pytest.approx(words / rank**2 * 6 / math.pi**2, rel=0.2)
        assert all(len(word) == 6 and word.isalpha() for word in tally if word != "...")
        assert 0.99 * SHORT.value <= example.tokens <= SHORT.value


def test_a_text_of_coded_words_may_have_any_number_of_them() -> None:
    for words in (60, 61, 62, 500, 501, 4999):
        times = _zipf(words, 80)
        assert sum(times) == words
        assert times == sorted(times, reverse=True)
        assert times[0] == pytest.approx(words * 6 / math.pi**2, abs=0.12 * words)
    whole = [int(1000 / rank**2 * 6 / math.pi**2) for rank in range(1, 81)]
    assert _zipf(sum(whole), 80) == whole  # the same as RULER's if its steps meet the number


@needs_smollm2
def test_coded_words_can_be_made_at_every_short_length() -> None:
    tokenizer = find_weights(SMOLLM2).tokenizer
    assert tokenizer is not None
    for length in (Length(1024), Length(1536), Length(2048)):
        for number in range(30):
            example = CodedWords().example(length, number, 42, tokenizer)
            assert 0.99 * length.value <= example.tokens <= length.value


def test_common_words_can_be_made_however_long_the_words() -> None:
    """With long words, 30 times and 3 times exceed 4,096 tokens, so words stand 6 times and once."""
    task = CommonWords(words=[f"{'long' * 4}{number}" for number in range(2000)])
    for number in range(5):
        example = task.example(Length(4096), number, 42, ByteTokenizer())
        assert 0.99 * 4096 <= example.tokens <= 4096
        times = Counter(re.findall(r"\d+\. (\S+)", example.document))
        assert {times[answer] for answer in example.answers} == {6}
    assert CommonWords().example(LONG, 0, 1, ByteTokenizer()).document.split().count("1.") == 1


def test_too_few_words_are_told() -> None:
    with pytest.raises(UsageError, match="There are 30 words, too few for cwe: give more with --words"):
        CommonWords(words=[f"word{number}" for number in range(30)]).example(LONG, 0, 1, ByteTokenizer())


def test_the_template_of_coded_words() -> None:
    example = CodedWords().example(SHORT, 0, 1, ByteTokenizer())
    assert example.question.startswith("Read the following coded text and track the frequency of each coded word.")
    assert "Find the three most frequently appeared coded words.\nQuestion: Do not provide" in example.question
    assert f"coded words. {example.document}\nQuestion" in example.prompt()


@pytest.mark.parametrize("task", [CommonWords(), CodedWords()], ids=lambda task: task.name)
def test_the_ideal_memory_is_a_tally_that_ends_with_the_answers(task: CommonWords | CodedWords) -> None:
    example = task.example(SHORT, 0, 9, ByteTokenizer())
    cuts = [*range(0, len(example.document), 97), len(example.document)]  # cuts some words in the middle
    segments = [Segment(a, b, example.document[a:b], 1) for a, b in pairwise(cuts)]
    memories = list(task.memories(example, segments))
    assert len(memories) == len(segments)
    words = [line.split(": ")[0] for line in memories[-1].split("\n")]
    assert set(words[: len(example.answers)]) == set(example.answers)
    counts = [sum(int(line.split(": ")[1]) for line in memory.split("\n")) for memory in memories[1:]]
    assert counts == sorted(counts)
    tally = Counter(re.findall(r"[a-z-]{3,}|[A-Za-z-]+", example.document))
    assert all(tally[word] == int(times) for word, times in (line.split(": ") for line in memories[-1].split("\n")))
