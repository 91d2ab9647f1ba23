"""Finds how much haystack an example of a given length needs.

Two small builds give the tokens per piece. From there, each guess is built and counted in full, and corrects the next
one. A million tokens take one or two large builds, whatever the task.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from memagent.core.tokenizer import Tokenizer, count
from memagent.errors import UsageError
from memagent.tasks.example import Example, Length

TOLERANCE = 0.01
"""Largest share by which an example may be shorter than the length asked for."""

_AIM = 0.997  # share of the length that a guess aims at
_GROWTH = 64  # largest step from one guess to the next, as a factor: small builds give only a rough rate


class TooShort(UsageError):
    """No number of pieces comes close enough to the length."""


def fit(
    build: Callable[[int], Example],
    length: Length,
    tokens: Callable[[Example], int],
    start: int,
) -> Example:
    """Return an example of the right length, made by `build(pieces)`.

    Args:
        build: makes an example with this many pieces of haystack; more pieces give more tokens.
        tokens: counts the tokens of a whole sample.
        start: smallest number of pieces that an example can have.

    Raises:
        UsageError: the length is not in tokens.
        TooShort: the length is too short, or no number of pieces comes close enough to it.
    """
    if length.unit != "tokens":
        raise UsageError(f"A length of {length} makes no sense for this task: give tokens, such as 8k.")
    least, most = length.value * (1 - TOLERANCE), length.value
    low, high = 0, None  # most pieces known to be too few, and fewest known to be too many
    pieces, before, rate = start, (0, 0), 0.0
    while pieces > low and (high is None or pieces < high):
        example = build(pieces)
        found = tokens(example)
        if least <= found <= most:
            return replace(example, tokens=found)
        if pieces != before[0]:
            rate = max((found - before[1]) / (pieces - before[0]), 0.01)
        if found < least:
            low = pieces
        elif pieces == start:
            break
        else:
            high = pieces
        before = (pieces, found)
        guess = min(pieces + round((most * _AIM - found) / rate), pieces * _GROWTH) if pieces > start else 2 * start
        pieces = max(guess, low + 1) if high is None else min(max(guess, low + 1), high - 1)
    raise TooShort(f"No example of this task is as short as {most:,} tokens: give a larger length.")


def sample_tokens(tokenizer: Tokenizer, answer_tokens: int) -> Callable[[Example], int]:
    """Return a function that counts a sample as RULER does: prompt, answer prefix, and tokens to generate."""
    return lambda example: count(tokenizer, example.prompt()) + answer_tokens
