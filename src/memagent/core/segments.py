"""Cut a stream of text into segments with character offsets: lossless, and in constant memory.

A segment has at most `size` tokens, counted together with the text around it. It ends at the last paragraph end in its
last tenth, else at the last sentence end, else at the last word end. It never ends inside a word, unless the word is
longer than the segment. With `cut="tokens"` it ends after exactly `size` tokens, as in the paper, but always between
two characters (the authors' token slices can cut through multi-byte characters).

Text is encoded in blocks of several segments, each block once, and cuts are looked up in the encoding.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Literal

from memagent.core.records import Segment
from memagent.core.text import CJK_SENTENCE_END, SENTENCE_END
from memagent.core.tokenizer import Encoding, Tokenizer, word_start

Cut = Literal["natural", "tokens"]

_PARAGRAPH_END = re.compile(r"\n[^\S\n]*\n\s*|\f\s*")
_SENTENCE_END = re.compile(rf"{SENTENCE_END}\s+|{CJK_SENTENCE_END}\s*")
_WORD_END = re.compile(r"\s+")
_ENDS = (_PARAGRAPH_END, _SENTENCE_END, _WORD_END)

_BLOCK = 20_000  # least tokens encoded at once: the tail that is encoded twice is then a small part
_MARGIN = 32  # tokens at the end of a block that the next characters might still change


def segments(
    chunks: Iterable[str], size: int, tokenizer: Tokenizer, cut: Cut = "natural", start: int = 0
) -> Iterator[Segment]:
    """Cut the text in `chunks` into segments of at most `size` tokens.

    `"".join(s.text for s in segments(…)) == "".join(chunks)`. Offsets count from `start`, the place of the first
    chunk in the document.
    An estimating tokenizer (`exact = False`) encodes anew for every segment, so that its corrections take effect.
    """
    stream = _pieces(chunks)
    block_tokens = max(2 * size, _BLOCK) if tokenizer.exact else size + _MARGIN
    chars = block_tokens * 5  # in the next block, estimated from the block before
    text, offset, done = "", start, False  # the text held, and where it starts in the document
    position = 0  # in `text`: everything before it has been emitted
    while True:
        # Keep the word that holds the position, so that its tokens come out as in the whole text.
        keep = word_start(text, position)
        text, offset, position = text[keep:], offset + keep, position - keep
        text, done = _refill(text, stream, position + chars, done)
        if position == len(text):
            return
        encoding = tokenizer.encode(text)
        first = _token_at(encoding, position, len(text)) if position else 0
        left = len(encoding) - first
        chars = max(1, (len(text) - position) * block_tokens // max(left, 1))
        if not done and left < size + _MARGIN:
            chars = max(chars, 2 * (len(text) - position))
            continue
        while position < len(text) and (done or len(encoding) - first >= size + _MARGIN):
            end = high = max(_end_of(encoding, first + size, len(text)), position + 1)
            if cut == "natural" and high < len(text):
                low = _end_of(encoding, first + size - size // 10 - 1, len(text))
                end = natural_cut(text, position, max(low, position), high)
            following = _token_at(encoding, end, len(text))
            tokens = max(following - first, 1)
            yield Segment(offset + position, offset + end, text[position:end], tokens)
            position, first = end, following
            if not tokenizer.exact:
                break


def natural_cut(text: str, start: int, low: int, high: int) -> int:
    """Return the best place to end a piece of `text` that begins at `start`: after `low`, at most `high`.

    That is the last paragraph end between `low` and `high`, else the last sentence end, else the last word end. If
    there is none of these, it is the last word end after `start`, or `high` if one word fills the piece.
    """
    for pattern in _ENDS:
        if cut := _last_end(pattern, text, low, high):
            return cut
    if high == len(text) or text[high].isspace() or text[high - 1].isspace():
        return high
    return _last_end(_WORD_END, text, start, high) or high


def halves(segment: Segment) -> tuple[Segment, Segment]:
    """Cut a segment in two of about equal length, at the best place near its middle."""
    text, start, end = segment.text, segment.start, segment.end
    middle = max(1, len(text) // 2)
    cut = natural_cut(text, 0, middle * 9 // 10, middle)
    tokens = segment.tokens * cut // len(text)
    return (
        Segment(start, start + cut, text[:cut], max(tokens, 1), segment.origin),
        Segment(start + cut, end, text[cut:], max(segment.tokens - tokens, 1), segment.origin),
    )


def _last_end(pattern: re.Pattern[str], text: str, low: int, high: int) -> int:
    """Return the last end of a match after `low`, at most `high`; 0 if there is none."""
    end = 0
    for match in pattern.finditer(text, max(low - 8, 0), high):  # a match may begin before `low`
        if match.end() > low:
            end = match.end()
    return end


def _pieces(chunks: Iterable[str], size: int = 1 << 16) -> Iterator[str]:
    """Yield the same text in chunks of at most `size` characters."""
    for chunk in chunks:
        for start in range(0, len(chunk), size):
            yield chunk[start : start + size]


def _refill(text: str, stream: Iterator[str], want: int, done: bool) -> tuple[str, bool]:
    """Add chunks until the text has at least `want` characters or the stream has ended. Returns text and `done`."""
    parts, have = [text], len(text)
    while have < want and not done:
        chunk = next(stream, None)
        if chunk is None:
            done = True
        else:
            parts.append(chunk)
            have += len(chunk)
    return "".join(parts), done


def _end_of(encoding: Encoding, tokens: int, length: int) -> int:
    """Return the character at which the first `tokens` tokens end, before a character that the next token shares."""
    if tokens >= len(encoding):
        return length
    following = encoding.token_to_chars(tokens)
    for token in range(tokens - 1, -1, -1):
        if span := encoding.token_to_chars(token):
            return min(span[1], following[0]) if following else span[1]
    return 0


def _token_at(encoding: Encoding, char: int, length: int) -> int:
    """Return the number of the token that holds a character, or else of the next token that holds any."""
    for place in range(char, length):
        if (token := encoding.char_to_token(place)) is not None:
            return token
    return len(encoding)
