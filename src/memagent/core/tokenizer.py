"""Count tokens, and find where they lie in a text.

The interface is that of Hugging Face `tokenizers`, so that a real tokenizer needs no adapter: `encode(text)` returns
an Encoding, which knows its length and maps tokens to characters and back.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from functools import cached_property
from hashlib import sha256
from itertools import accumulate, islice
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from memagent.core.token_counts import PieceCounts, PieceEncoding, split, splits
from memagent.errors import UsageError

if TYPE_CHECKING:
    import tokenizers

_BLOCK = 1 << 16  # characters in a block of a long text
_BATCH = 32  # texts counted in one batch


class Encoding(Protocol):
    """A text as tokens 0 … len-1."""

    def __len__(self) -> int: ...

    def token_to_chars(self, token_index: int) -> tuple[int, int] | None:
        """Start and end of a token in characters; None for a token without text."""

    def char_to_token(self, char_pos: int) -> int | None:
        """Number of the token that holds a character; None for a character that no token holds."""


class Tokenizer(Protocol):
    exact: bool
    """Whether counts are exact; False for estimates that may improve during a reading."""

    @property
    def fingerprint(self) -> str:
        """Identifier of the tokenizer: two tokenizers with the same fingerprint give the same counts."""

    def encode(self, text: str) -> Encoding: ...


def count(tokenizer: Tokenizer, text: str) -> int:
    """Return the number of tokens of `text`. A long text is counted in blocks that end between words."""
    if len(text) <= 2 * _BLOCK:
        return len(tokenizer.encode(text))
    return sum(counts(tokenizer, _blocks(text)))


def counts(tokenizer: Tokenizer, texts: Iterable[str]) -> Iterator[int]:
    """Yield the number of tokens of each text. A Hugging Face tokenizer counts many at a time, on all cores."""
    if isinstance(tokenizer, FileTokenizer):
        yield from tokenizer.counts(texts)
    else:
        yield from (len(tokenizer.encode(text)) for text in texts)


def word_start(text: str, position: int) -> int:
    """Return the last place up to `position` where a space follows a non-space. Tokens never cross such a place.

    If there is none nearby (in a text without spaces), return `position` itself.
    """
    for place in range(min(position, len(text) - 1), max(0, position - 1000), -1):
        if text[place].isspace() and not text[place - 1].isspace():
            return place
    return position


def _blocks(text: str) -> Iterator[str]:
    start = 0
    while start < len(text):
        end = word_start(text, start + _BLOCK) if start + _BLOCK < len(text) else len(text)
        yield text[start:end]
        start = end


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    texts = iter(texts)
    while batch := list(islice(texts, _BATCH)):
        yield batch


class ByteTokenizer:
    """One token per UTF-8 byte: exact, without a file or a download. For tests and byte-level models."""

    exact = True
    fingerprint = "bytes"

    def encode(self, text: str) -> Encoding:
        return _ByteEncoding(text)


class _ByteEncoding:
    def __init__(self, text: str) -> None:
        self._text = text
        self._length = len(text.encode("utf-8", "surrogatepass"))
        self._ascii = self._length == len(text)

    @cached_property
    def _ends(self) -> list[int]:
        """Number of bytes up to and including each character."""
        return list(accumulate(len(char.encode("utf-8", "surrogatepass")) for char in self._text))

    def __len__(self) -> int:
        return self._length

    def token_to_chars(self, token_index: int) -> tuple[int, int]:
        char = token_index if self._ascii else bisect_right(self._ends, token_index)
        return char, char + 1

    def char_to_token(self, char_pos: int) -> int:
        if self._ascii or char_pos == 0:
            return char_pos
        return self._ends[char_pos - 1]


class EstimatedTokenizer:
    """Estimates tokens from the number of bytes per token, for a server whose tokenizer is unknown.

    The counts that the server reports correct the estimate. It starts at 3 bytes per token, below the 4 to 5 of
    English prose, so that the first segments are too short rather than too long.
    """

    exact = False

    def __init__(self, bytes_per_token: float = 3.0, learns: bool = True) -> None:
        self.bytes_per_token = bytes_per_token
        self.fingerprint = f"estimate of {bytes_per_token:g} bytes"
        self._learns = learns

    def encode(self, text: str) -> Encoding:
        size = len(text.encode("utf-8", "surrogatepass"))
        return _EstimatedEncoding(len(text), size / self.bytes_per_token)

    def correct(self, text: str, tokens: int) -> None:
        """Learn from a text and the number of tokens that a server counted in it."""
        if self._learns and tokens > 0 and text:
            # Bounded, so that a server that counts wrongly cannot make segments absurdly long or short.
            measured = len(text.encode("utf-8", "surrogatepass")) / tokens
            self.bytes_per_token = min(max(measured, 1.0), 8.0)


class _EstimatedEncoding:
    def __init__(self, chars: int, tokens: float) -> None:
        self._length = min(max(round(tokens), 1), chars) if chars else 0
        self._chars = chars

    def __len__(self) -> int:
        return self._length

    def token_to_chars(self, token_index: int) -> tuple[int, int]:
        return token_index * self._chars // self._length, (token_index + 1) * self._chars // self._length

    def char_to_token(self, char_pos: int) -> int:
        return ((char_pos + 1) * self._length - 1) // self._chars


class FileTokenizer:
    """A Hugging Face tokenizer that treats the names of special tokens in a text as ordinary text."""

    exact = True

    def __init__(self, tokenizer: tokenizers.Tokenizer) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        tokenizer.encode_special_tokens = True
        self.tokenizer = tokenizer

    @cached_property
    def fingerprint(self) -> str:
        return sha256(self.tokenizer.to_str().encode()).hexdigest()[:16]

    @cached_property
    def _counts(self) -> PieceCounts | None:
        """Counts of pieces; None if this tokenizer cannot count piece by piece."""
        at_spaces, within = splits(self.tokenizer)
        return PieceCounts(self.tokenizer, within) if at_spaces else None

    def encode(self, text: str) -> Encoding:
        if self._counts:
            return PieceEncoding(text, self._counts, self._encode)
        return self._encode(text)

    def _encode(self, text: str) -> tokenizers.Encoding:
        return self.tokenizer.encode(text, add_special_tokens=False)

    def counts(self, texts: Iterable[str]) -> Iterator[int]:
        """Yield the number of tokens of each text, without the character offsets that `encode` finds."""
        if self._counts:
            yield from (sum(self._counts.of(split(text))) for text in texts)
            return
        for batch in _batches(texts):
            yield from map(len, self.tokenizer.encode_batch_fast(batch, add_special_tokens=False))

    def ids(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)


def load_tokenizer(path: str | Path) -> FileTokenizer:
    """Load the tokenizer from a `tokenizer.json`, or from a folder that has one.

    Raises:
        UsageError: there is no such file, or it cannot be read.
    """
    from tokenizers import Tokenizer as HuggingFaceTokenizer

    file = Path(path)
    if file.is_dir():
        file = file / "tokenizer.json"
    if not file.is_file():
        raise UsageError(f"There is no tokenizer at {file}: give a tokenizer.json or a folder that holds one.")
    try:
        text = file.read_text(encoding="utf-8")
        return FileTokenizer(HuggingFaceTokenizer.from_str(text))
    except Exception as error:  # `tokenizers` raises bare Exception for a file it cannot parse
        raise UsageError(f"{file} is not a tokenizer.json: {error}.") from error
