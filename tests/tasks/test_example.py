from __future__ import annotations

import pytest

from memagent import Segment
from memagent.core.prompts import NOTHING
from memagent.errors import UsageError
from memagent.tasks.example import Example, Fact, Length, facts_read, generator, parse_length


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("4096", Length(4096)),
        ("4k", Length(4096)),
        ("8K", Length(8192)),
        ("1m", Length(2**20)),
        ("50p", Length(50, "paragraphs")),
    ],
)
def test_lengths_are_read_and_written(text: str, length: Length) -> None:
    assert parse_length(text) == length
    assert parse_length(str(length)) == length


@pytest.mark.parametrize("text", ["", "k", "0", "-4k", "4kk", "4.5k", "own", "0p"])
def test_what_is_no_length_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a length: give tokens, such as 4096, 8k or 1m, or paragraphs"):
        parse_length(text)


def test_a_length_beyond_measure_is_refused() -> None:
    assert parse_length("1024m") == Length(1 << 30)
    with pytest.raises(UsageError, match="A length of 99999999m is too large: give at most 1024m"):
        parse_length("99999999m")


def test_lengths_that_are_no_multiple_are_written_out() -> None:
    assert [str(Length(value)) for value in (5000, 1536, 2048, 3 * 2**20)] == ["5000", "1536", "2k", "3m"]
    assert str(Length(0, "own")) == "own"


def test_a_document_that_contains_the_placeholder_stays_as_it_is() -> None:
    example = Example("see {context}", "?", (), (), "Read: {context}\nAnswer:", 0)
    assert example.prompt() == "Read: see {context}\nAnswer:"
    assert example.prompt("{context}{context}") == "Read: {context}{context}\nAnswer:"


def test_a_fact_counts_as_read_with_the_segment_in_which_it_ends() -> None:
    facts = (Fact("second", "2", 30, 40), Fact("first", "1", 5, 12))
    example = Example("x" * 50, "?", (), facts, "{context}", 0)
    segments = [Segment(start, start + 10, "x" * 10, 1) for start in range(0, 50, 10)]
    assert list(facts_read(example, segments)) == [NOTHING, "first", "first", "first\nsecond", "first\nsecond"]


def test_what_is_random_depends_on_task_length_number_and_seed() -> None:
    draws = {
        generator(task, length, number, seed).random()
        for task in ("vt", "fwe")
        for length in (Length(1), Length(2))
        for number in (0, 1)
        for seed in (0, 1)
    }
    assert len(draws) == 16
    assert generator("vt", Length(1024), 0, 42).randint(0, 10**9) == DRAWN


DRAWN = 471203150
"""A draw that is the same on every machine, because Python seeds with sha512 of the text."""
