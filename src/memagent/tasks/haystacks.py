"""The haystacks that needles are hidden in: noise, distractor needles, or prose.

A haystack is a function of the number of pieces, the number of needles, and a random generator. It returns the
stretches of text before, between and after the needles, separators included. Joined with the needles between them,
they are the document.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from itertools import pairwise

from memagent.core.text import CJK_CLOSING, CJK_SENTENCE_END, SENTENCE_END
from memagent.errors import UsageError
from memagent.tasks.templates import NOISE

Haystack = Callable[[int, int, random.Random], list[str]]

# RULER's depths in percent: 40 values of linspace(0, 100), rounded.
DEPTHS = [round(100 * step / 39) for step in range(40)]

_SENTENCES = [sentence + "." for sentence in NOISE.rstrip(".").split(". ")]
_SENTENCE_END = re.compile(rf"{SENTENCE_END} |{CJK_SENTENCE_END}{CJK_CLOSING} ?")
_WORD = 100  # characters in the longest word, in a script that separates words
_NEAR = 2000  # characters to search for the end of a sentence before settling for the end of a word


def noise(pieces: int, needles: int, draw: random.Random) -> list[str]:
    """Repeat RULER's line of five sentences. A piece is a sentence, so the last line may be incomplete."""
    whole, part = divmod(pieces, len(_SENTENCES))
    lines = [NOISE] * whole
    if part:
        lines.append(" ".join(_SENTENCES[:part]))
    return _split(lines, needles, draw)


def lines_of(line: Callable[[random.Random], str]) -> Haystack:
    """Return a haystack of needles drawn by `line`. A piece is a character.

    The last line may break off at a space or hyphen. RULER counts whole lines, so it may miss the length by one line
    (a line of uuids has 80 tokens).
    """

    def haystack(pieces: int, needles: int, draw: random.Random) -> list[str]:
        places = random.Random(draw.random())
        lines, left = [], pieces
        while left > 0:
            text = line(draw)
            if len(text) > left:
                text = text[: max(text.rfind(" ", 0, left), text.rfind("-", 0, left) + 1, 0)]
                left = 0
            if text:
                lines.append(text)
            left -= len(text) + 1
        return _split(lines, needles, places)

    return haystack


def prose_from(text: str, begin: int) -> Haystack:
    """Return a haystack of prose that starts at the first sentence after `begin`, repeated if too short.

    A piece is a character. The prose ends at the end of a word. Needles go between sentences, at depths drawn
    without replacement from RULER's 40. RULER's essays always begin at the same place, but here each example begins at
    a different one.
    """
    first = _sentence_end(text, begin % len(text))

    def haystack(pieces: int, needles: int, draw: random.Random) -> list[str]:
        prose = _cycle(text, first, pieces)
        places = [_sentence_end(prose, depth * len(prose) // 100) for depth in sorted(draw.sample(DEPTHS, needles))]
        stretches = [prose[start:end].strip() for start, end in pairwise([0, *places, len(prose)])]
        last = len(stretches) - 1
        return [
            (" " if number and stretch else "") + stretch + (" " if number < last and (stretch or number) else "")
            for number, stretch in enumerate(stretches)
        ]

    return haystack


def hide(needles: Sequence[str], stretches: Sequence[str]) -> tuple[str, list[int]]:
    """Return the document, and the offset of each needle in it."""
    parts, places, length = [stretches[0]], [], len(stretches[0])
    for needle, stretch in zip(needles, stretches[1:], strict=True):
        places.append(length)
        parts += [needle, stretch]
        length += len(needle) + len(stretch)
    return "".join(parts), places


def _split(lines: list[str], needles: int, draw: random.Random) -> list[str]:
    """Return the stretches between the needles; each needle goes before a line drawn without replacement."""
    if len(lines) < needles:
        raise UsageError(f"{len(lines)} lines are too few for {needles} needles: give a larger length.")
    places = sorted(draw.sample(range(len(lines)), needles))
    stretches = ["".join(line + "\n" for line in lines[start:end]) for start, end in pairwise([0, *places, len(lines)])]
    for number in range(1, len(stretches)):
        stretches[number] = "\n" + stretches[number]
    stretches[-1] = stretches[-1][:-1]
    return stretches


def _cycle(text: str, start: int, characters: int) -> str:
    """Return this many characters of the text, which starts over at its end, cut back to the end of a word."""
    parts, left = [text[start : start + characters]], characters - (len(text) - start)
    while left > 0:
        parts.append(text[:left])
        left -= len(text)
    prose = " ".join(parts)[:characters]
    end = prose.rfind(" ", -_WORD)
    return prose[:end] if end > 0 else prose


def _sentence_end(prose: str, place: int) -> int:
    """Return the first end of a sentence after `place`, else of a word, else `place` itself.

    The beginning and the end of the prose are returned unchanged.
    """
    if place in (0, len(prose)):
        return place
    if found := _SENTENCE_END.search(prose, place, place + _NEAR):
        return found.end()
    word = prose.find(" ", place, place + _WORD)
    return word + 1 if word >= 0 else place
