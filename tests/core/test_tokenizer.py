from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

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
    tokenizer.correct(text, 1)  # a server that cannot be right
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
