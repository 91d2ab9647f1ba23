from __future__ import annotations

import re
from functools import cache
from itertools import accumulate, pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from memagent.core.token_counts import PieceEncoding, split, splits
from memagent.core.tokenizer import ByteTokenizer, EstimatedTokenizer, FileTokenizer, count, load_tokenizer
from memagent.errors import UsageError


def words_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "b": 1, "[X]": 2, "?": 3}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(["[X]"])
    return tokenizer


@given(st.text(max_size=40))
def test_byte_tokens_map_to_the_characters_that_hold_them(text: str) -> None:
    encoding = ByteTokenizer().encode(text)
    data = text.encode()
    assert len(encoding) == len(data)
    for token in range(len(data)):
        start, end = encoding.token_to_chars(token) or (0, 0)
        assert end == start + 1
        first = encoding.char_to_token(start)
        assert first is not None
        assert data[first : first + len(text[start].encode())].decode() == text[start]
        assert first <= token < first + len(text[start].encode())


@given(st.text(min_size=1, max_size=40))
def test_estimated_tokens_cover_the_text_in_order(text: str) -> None:
    encoding = EstimatedTokenizer().encode(text)
    spans = [encoding.token_to_chars(token) or (0, 0) for token in range(len(encoding))]
    assert spans[0][0] == 0
    assert spans[-1][1] == len(text)
    assert all(one[1] == two[0] for one, two in pairwise(spans))
    for char in range(len(text)):
        token = encoding.char_to_token(char)
        assert token is not None
        assert spans[token][0] <= char < spans[token][1]


def test_an_estimate_learns_within_bounds() -> None:
    tokenizer = EstimatedTokenizer()
    text = "word " * 100
    tokenizer.correct(text, 100)
    assert count(tokenizer, text) == 100
    tokenizer.correct(text, 1)  # an impossible count from a server
    assert count(tokenizer, text) == 62
    tokenizer.correct(text, 0)
    assert count(tokenizer, text) == 62


def test_a_tokenizer_is_loaded_from_its_file_or_folder(tmp_path: Path) -> None:
    words_tokenizer().save(str(tmp_path / "tokenizer.json"))
    for path in (tmp_path, tmp_path / "tokenizer.json"):
        assert count(load_tokenizer(path), "a b a") == 3


def test_the_names_of_special_tokens_are_ordinary_text() -> None:
    assert words_tokenizer().encode("a [X] b").ids == [0, 2, 1]
    tokenizer = FileTokenizer(words_tokenizer())
    assert tokenizer.ids("a [X] b") == [0, 3, 3, 3, 1]
    assert count(tokenizer, "a [X] b") == 5


def test_what_is_no_tokenizer_is_refused(tmp_path: Path) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text('{"model": 1}')
    binary = tmp_path / "binary.json"
    binary.write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path, tmp_path / "none.json"):
        with pytest.raises(UsageError, match="no tokenizer at"):
            load_tokenizer(path)
    for path in (broken, binary):
        with pytest.raises(UsageError, match="is not a tokenizer"):
            load_tokenizer(path)


def byte_level() -> Tokenizer:
    """Return a tokenizer of GPT-2's kind, trained on a few words."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(["the cat, the dog and the 'bird' don't 12 34\n\nthe end. The cat's"] * 9, trainer)
    return tokenizer


def with_a_space_before() -> Tokenizer:
    """Return a tokenizer of Llama 2's kind, which puts a space before each text."""
    tokenizer = Tokenizer(models.BPE({"▁": 0, "a": 1, "▁a": 2, "b": 3, "?": 4}, [("▁", "a")], unk_token="?"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    return tokenizer


WORDS = st.lists(
    st.sampled_from(
        [
            "the",
            "cat",
            ",",
            ".",
            "'s",
            " ",
            "  ",
            "\n",
            "\n\n",
            "\t",
            "1",
            "é",
            "e\u0301",
            "中文",
            "😀",
            "_",
            '"',
            "\u00a0",
        ]
    )
)


@pytest.mark.slow
@given(WORDS.map("".join) | st.text(max_size=30))
def test_tokens_counted_piece_by_piece_are_those_of_the_whole_text(text: str) -> None:
    plain, tokenizer = byte_level_once(), FileTokenizer(byte_level_once())
    encoding, whole = tokenizer.encode(text), plain.encode(text, add_special_tokens=False)
    assert isinstance(encoding, PieceEncoding)
    assert len(encoding) == len(whole) == next(tokenizer.counts([text]))
    assert [encoding.token_to_chars(token) for token in range(len(whole))] == [
        whole.token_to_chars(token) for token in range(len(whole))
    ]
    assert [encoding.char_to_token(place) for place in range(len(text))] == [
        whole.char_to_token(place) for place in range(len(text))
    ]


@cache
def byte_level_once() -> Tokenizer:
    return byte_level()


@given(st.text(" a\n\t\u3000.", max_size=20))
def test_pieces_end_where_a_space_follows_something_else(text: str) -> None:
    pieces = split(text)
    assert "".join(pieces) == text
    places = {match.end() for match in re.finditer(r"\S(?= )", text)}
    assert set(accumulate(map(len, pieces[:-1]))) == places - {len(text)}


def test_only_tokenizers_that_split_at_spaces_are_counted_by_pieces() -> None:
    assert splits(byte_level()) == (True, True)
    assert splits(with_a_space_before()) == (False, False)
    added = byte_level()
    added.add_tokens(["the cat"])
    assert splits(added) == (False, False)
    plain = FileTokenizer(with_a_space_before())
    assert len(plain.encode("a b")) == len(with_a_space_before().encode("a b", add_special_tokens=False))


def test_what_is_remembered_does_not_grow_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memagent.core.token_counts._MOST", 50)
    tokenizer = FileTokenizer(byte_level())
    for number in range(200):
        text = f"the {number} cat {number * 7} end"
        assert len(tokenizer.encode(text)) == len(byte_level_once().encode(text, add_special_tokens=False))
    assert tokenizer._counts is not None
    assert len(tokenizer._counts._pieces) < 60
