"""Needle tasks with a small alphabet, for models trained from scratch: `memagent train --preset nano`.

leaf moon red4 salt gold1 rain blue7 moon red9 salt …
red blue  ->  red red9 blue blue7

Eight colours carry digits; a colour and its digit are one word. Each question asks for two colours. In `colours`, each
of the two has one digit. In `colours_changed`, each has several, well apart, and the last one counts. The other
colours appear all over the document. A memory says what was read about each of the two colours.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from memagent.core.records import Segment
from memagent.core.tokenizer import Tokenizer
from memagent.tasks.example import Example, Fact, Length, Unit, generator
from memagent.tasks.fitting import fit, sample_tokens

COLOURS = ("red", "blue", "green", "gold", "black", "white", "pink", "grey")
DIGITS = tuple("0123456789")
FILLER = ("leaf", "moon", "salt", "rain", "stone", "wind", "fire", "road")
NOTHING = "none"
"""What an ideal memory says of a colour that it has not read yet."""

_DISTRACTORS = 0.25  # share of a document's words that are needles nobody asks for
_ASKED = 2


@dataclass(frozen=True, slots=True)
class ColourTask:
    """Asks for two of eight colours; both must be right, in the question's order.

    Args:
        digits: number of needles for each colour asked for; the last one counts.
    """

    name: str = "colours"
    digits: int = 1
    metrics: tuple[str, ...] = ("exact_match",)
    answer_tokens: int = 8
    size: None = None
    units: tuple[Unit, ...] = ("tokens",)
    placed: bool = True
    together: int = 1

    def example(self, length: Length, number: int, seed: int, tokenizer: Tokenizer) -> Example:
        draw = generator(self.name, length, number, seed)
        colours = draw.sample(COLOURS, len(COLOURS))
        asked, others = colours[:_ASKED], colours[_ASKED:]
        needles = sorted(
            (depth, colour + digit)
            for colour in asked
            for depth, digit in zip(_depths(self.digits, draw), draw.sample(DIGITS, self.digits), strict=True)
        )
        stream = draw.random()
        last = {needle[:-1]: needle for _, needle in needles}
        answer = _written(asked, last)

        def build(pieces: int) -> Example:
            words = _words(pieces, others, random.Random(stream))
            for shift, (depth, needle) in enumerate(needles):
                words.insert(shift + int(depth * (pieces + 1)), needle)
            facts = []
            start = 0
            for word in words:
                if word == last.get(word[:-1]):
                    facts.append(Fact(word, word, start, start + len(word)))
                start += len(word) + 1
            document = " ".join(words)
            return Example(document, " ".join(asked), (answer,), tuple(facts), f"{{context}}\n{' '.join(asked)}?", 0)

        return fit(build, length, sample_tokens(tokenizer, self.answer_tokens), 4)

    def memories(self, example: Example, segments: Iterable[Segment]) -> Iterator[str]:
        """Yield the last needle so far of each colour in the question."""
        asked = example.question.split()
        held: dict[str, str] = {}
        for segment in segments:
            held |= {word[:-1]: word for word in segment.text.split() if word[:-1] in asked}
            yield _written(asked, held)

    def joined(self, example: Example, memories: Sequence[str]) -> str:
        """Join memories, given in the order of the document, into one. The last value of each colour counts."""
        words = " ".join(memories).split()
        asked = example.question.split()
        held = {word[:-1]: word for word in words if word[:-1] in asked}
        return _written(asked, held)


def _written(asked: list[str], held: dict[str, str]) -> str:
    return " ".join(f"{colour} {held.get(colour, NOTHING)}" for colour in asked)


def _depths(many: int, draw: random.Random) -> list[float]:
    """Draw `many` places from 0 to 1, sorted, uniform among those at least 1 / (2 * many) apart."""
    gap = 1 / (2 * many)
    return [
        place * gap + depth * (1 - (many - 1) * gap)
        for place, depth in enumerate(sorted(draw.random() for _ in range(many)))
    ]


def _words(many: int, colours: list[str], draw: random.Random) -> list[str]:
    return [
        draw.choice(colours) + draw.choice(DIGITS) if draw.random() < _DISTRACTORS else draw.choice(FILLER)
        for _ in range(many)
    ]
