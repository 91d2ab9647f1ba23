from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

import pytest
from data import SMOLLM2, needs_books, needs_smollm2
from hypothesis import given, settings
from hypothesis import strategies as st

from memagent.core.records import Segment
from memagent.core.segments import Cut, halves, natural_cut, segments
from memagent.core.tokenizer import ByteTokenizer, EstimatedTokenizer, Tokenizer, count
from memagent.models.weights import find_weights

TEXTS = st.text(st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from("  \n\n.ab")), max_size=400)


@given(
    TEXTS,
    st.integers(1, 60),
    st.lists(st.integers(1, 50), max_size=20),
    st.sampled_from(["natural", "tokens"]),
    st.sampled_from([ByteTokenizer(), EstimatedTokenizer()]),
)
@settings(max_examples=400)
def test_segments_joined_are_the_text(text: str, size: int, cuts: list[int], cut: Cut, tokenizer: Tokenizer) -> None:
    chunks = []
    rest = text
    for length in cuts:
        chunks.append(rest[:length])
        rest = rest[length:]
    pieces = list(segments([*chunks, rest], size, tokenizer, cut, start=7))
    assert "".join(piece.text for piece in pieces) == text
    place = 7
    for piece in pieces:
        assert piece.start == place
        assert piece.end == place + len(piece.text) > place
        assert text[piece.start - 7 : piece.end - 7] == piece.text
        assert 1 <= piece.tokens <= size or len(piece.text) == 1
        place = piece.end


@given(TEXTS, st.integers(4, 60))
def test_no_segment_is_longer_than_its_size(text: str, size: int) -> None:
    for piece in segments([text], size, ByteTokenizer()):
        assert count(ByteTokenizer(), piece.text) <= size


@given(st.lists(st.text("abc", min_size=1, max_size=9), min_size=1, max_size=60), st.integers(10, 40))
def test_no_word_that_fits_is_cut(words: list[str], size: int) -> None:
    for piece in segments([" ".join(words)], size, ByteTokenizer()):
        assert set(piece.text.split()) <= set(words)


def test_a_segment_ends_at_the_best_place_in_its_last_tenth() -> None:
    def first(text: str) -> str:
        return next(segments([text + "z" * 200], 100, ByteTokenizer())).text

    filler = "x" * 91
    assert first(f"{filler}\n\nab. c d") == f"{filler}\n\n"  # paragraph before sentence before word
    assert first(f"{filler}y. c d") == f"{filler}y. "
    assert first(f"{filler}y c d") == f"{filler}y c "
    assert first(f"{'x' * 50} {'y' * 60}") == "x" * 50 + " "  # no end in the last tenth: the last word end before
    assert first("y" * 300) == "y" * 100  # a word longer than the segment


def test_exactly_so_many_tokens_with_cut_tokens() -> None:
    pieces = list(segments(["a b c d e f g"], 4, ByteTokenizer(), "tokens"))
    assert [piece.text for piece in pieces] == ["a b ", "c d ", "e f ", "g"]
    # A character of three bytes stays whole, and is a segment if it has more tokens than one.
    assert [piece.text for piece in segments(["日本語"], 8, ByteTokenizer(), "tokens")] == ["日本", "語"]
    assert [piece.text for piece in segments(["日本語"], 2, ByteTokenizer(), "tokens")] == ["日", "本", "語"]


def test_a_stream_is_read_only_as_far_as_needed() -> None:
    taken = 0

    def stream() -> Iterator[str]:
        nonlocal taken
        while True:
            taken += 1
            yield "some words " * 100

    pieces = list(islice(segments(stream(), 1000, ByteTokenizer()), 20))
    assert pieces[-1].end <= 20_000
    assert taken <= 400


def test_corrections_take_effect_at_the_next_segment() -> None:
    tokenizer = EstimatedTokenizer()
    pieces = segments(["word " * 10_000], 100, tokenizer)
    assert 285 <= len(next(pieces).text) <= 300
    tokenizer.correct("word " * 100, 100)
    assert 475 <= len(next(pieces).text) <= 500


def test_natural_cut_keeps_trailing_space_with_what_it_follows() -> None:
    text = "One two. Three four."
    assert text[: natural_cut(text, 0, 5, 15)] == "One two. "
    assert text[: natural_cut(text, 0, 9, 15)] == "One two. Three "


@given(st.text(min_size=2, max_size=80), st.integers(0, 50))
def test_halves_are_the_segment(text: str, start: int) -> None:
    one, two = halves(Segment(start, start + len(text), text, 9))
    assert one.text + two.text == text
    assert (one.start, one.end, two.start, two.end) == (start, start + len(one.text), one.end, start + len(text))
    assert one.text
    assert two.text
    assert one.whole == two.whole == (start, two.end)
    if len(one.text) > 1:
        assert [half.whole for half in halves(one)] == [(start, two.end)] * 2


@pytest.mark.slow
@needs_books
@needs_smollm2
def test_a_book_is_cut_as_its_tokens_are(books: dict[str, str]) -> None:
    """A real tokenizer cuts a real book block by block just as one encoding of the whole book does."""
    text = books["the-time-machine"]
    tokenizer = find_weights(SMOLLM2).tokenizer
    assert tokenizer is not None
    whole = tokenizer.encode(text)
    pieces = list(segments([text], 500, tokenizer, "tokens"))
    ends = [whole.token_to_chars(token - 1) for token in range(500, len(whole), 500)]
    assert [piece.end for piece in pieces[:-1]] == [span[1] for span in ends if span]

    pieces = list(segments([text], 500, tokenizer))
    assert "".join(piece.text for piece in pieces) == text
    assert max(count(tokenizer, piece.text) for piece in pieces) <= 500
    assert sum(piece.tokens for piece in pieces) / len(pieces) > 470
    inside = [piece.end for piece in pieces[:-1] if re.match(r"\w\w", text[piece.end - 1 : piece.end + 1])]
    assert inside == []
