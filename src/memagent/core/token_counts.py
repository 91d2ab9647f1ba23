"""Count tokens piece by piece, each piece only once: about ten times as fast as encoding the whole text.

Byte-level tokenizers (GPT-2's and its kind: Qwen, Llama 3, SmolLM) split a text before they look for tokens, always
where a space follows something else. Between two such places, the tokens do not depend on the text around them.
`splits` tests on characters of every category whether a tokenizer is of this kind. SentencePiece tokenizers are not:
they put a space before each text.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from itertools import accumulate, chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tokenizers

_BETWEEN = re.compile(r"(?<=\S)(?= )")
_WITHIN = re.compile(r"(?<=[^\W\d_])(?=[\s!-/:-@\[-^`{-~“”‘’–—…])")
"""Places where most tokenizers also split within a piece: after a letter, before white space or punctuation."""

_MOST = 150_000  # pieces to remember
_CHARACTERS = 2_000_000  # in all these pieces: in scripts without spaces, pieces are long and seldom repeat


class PieceCounts:
    """Number of tokens of each piece, remembered.

    Args:
        within: whether new pieces may be split further, into parts that are more likely to be known.
    """

    def __init__(self, tokenizer: tokenizers.Tokenizer, within: bool) -> None:
        self._tokenizer, self._within = tokenizer, within
        self._pieces: dict[str, int] = {}
        self._parts: dict[str, int] = {}
        self._characters = 0

    def of(self, pieces: Sequence[str]) -> list[int]:
        try:
            return list(map(self._pieces.__getitem__, pieces))
        except KeyError:
            self._learn(pieces)
            return list(map(self._pieces.__getitem__, pieces))

    def _learn(self, pieces: Sequence[str]) -> None:
        if len(self._pieces) > _MOST or self._characters > _CHARACTERS:
            self._pieces, self._parts, self._characters = {}, {}, 0
        new = list(set(pieces).difference(self._pieces))
        self._characters += sum(map(len, new))
        if not self._within:
            self._pieces |= self._encoded(new)
            return
        parts = [_WITHIN.split(piece) for piece in new]
        self._parts |= self._encoded(list(set(chain.from_iterable(parts)).difference(self._parts)))
        self._pieces |= zip(new, (sum(map(self._parts.__getitem__, each)) for each in parts), strict=True)

    def _encoded(self, pieces: Sequence[str]) -> Iterable[tuple[str, int]]:
        encodings = self._tokenizer.encode_batch_fast(pieces, add_special_tokens=False)
        return zip(pieces, map(len, encodings), strict=True)


class PieceEncoding:
    """A text as tokens. A piece is encoded only when a position inside it is asked for."""

    def __init__(self, text: str, counts: PieceCounts, encode: Callable[[str], tokenizers.Encoding]) -> None:
        self._pieces = split(text)
        self._counts = counts.of(self._pieces)
        self._length = sum(self._counts)
        self._encode = encode

    def __len__(self) -> int:
        return self._length

    def token_to_chars(self, token_index: int) -> tuple[int, int] | None:
        piece = bisect_right(self._tokens, token_index) - 1
        span = self._encode(self._pieces[piece]).token_to_chars(token_index - self._tokens[piece])
        return (self._chars[piece] + span[0], self._chars[piece] + span[1]) if span else None

    def char_to_token(self, char_pos: int) -> int | None:
        piece = bisect_right(self._chars, char_pos) - 1
        token = self._encode(self._pieces[piece]).char_to_token(char_pos - self._chars[piece])
        return None if token is None else self._tokens[piece] + token

    @cached_property
    def _chars(self) -> list[int]:
        """Number of characters before each piece."""
        return list(accumulate(map(len, self._pieces[:-1]), initial=0))

    @cached_property
    def _tokens(self) -> list[int]:
        """Number of tokens before each piece."""
        return list(accumulate(self._counts[:-1], initial=0))


def split(text: str) -> list[str]:
    """Split the text into pieces that end where a space follows something else."""
    if not text:
        return []
    first, *others = text.split(" ")
    pieces = [first, *[" " + word for word in others]]
    found: list[str] = []
    done = 0
    for place, piece in enumerate(pieces[:-1]):
        if not piece or piece[-1].isspace():  # no border here: the next space follows white space
            found += pieces[done : place + 1]
            found[-1] += pieces[place + 1]
            done = place + 2
    return found + pieces[done:]


def splits(tokenizer: tokenizers.Tokenizer) -> tuple[bool, bool]:
    """Test whether pieces have the same tokens alone as in a text, and whether parts of pieces do. Returns both."""
    kinds = _kinds()
    spaces = _same(tokenizer, [(left, f" {right}") for left in kinds for right in (*kinds, "\n", "\t", " x", "'s")])
    letters = [kind for kind in kinds if kind.isalpha()]
    others = [
        f"{mark}{after}" for mark in "\n\t .,;:!?'\"()[]-/&*#”’—…" for after in ("", "\n", "x", "s", "1", ".", " x")
    ]
    return spaces, spaces and _same(tokenizer, [(left, right) for left in letters for right in others])


def _same(tokenizer: tokenizers.Tokenizer, pairs: Sequence[tuple[str, str]]) -> bool:
    """Return whether each pair encodes to the tokens of its two sides, and no added token can span the border."""

    def ids(texts: Iterable[str]) -> list[list[int]]:
        return [encoding.ids for encoding in tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]

    border = _BETWEEN if pairs[0][1][0] == " " else _WITHIN
    added = tokenizer.get_added_tokens_decoder().values()  # we treat special tokens as ordinary text
    if any(border.search(token.content) for token in added if not token.special):
        return False
    sides = list(dict.fromkeys(side for pair in pairs for side in pair))
    alone = dict(zip(sides, ids(sides), strict=True))
    wholes = ids(left + right for left, right in pairs)
    return all(whole == alone[left] + alone[right] for (left, right), whole in zip(pairs, wholes, strict=True))


def _kinds() -> list[str]:
    """Return a character of every category except spaces, and strings that tokenizers treat in a special way."""
    found: dict[str, str] = {}
    for code in (*range(0x21, 0x3000), 0x4E2D, 0xAC00, 0x1F600):
        char = chr(code)
        category = unicodedata.category(char)
        if not char.isspace() and category not in ("Cs", "Cn"):
            found.setdefault(category, char)
    return [*found.values(), "中", "가", "😀", "e\u0301", "don't", "3.14", "...", "word"]
