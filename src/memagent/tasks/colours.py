"""A needle task with a small alphabet, for models that learn everything from it: `memagent train --preset nano`.

leaf moon red4 salt gold1 rain blue7 moon …
red blue  ->  4 7

Eight colours carry digits. Two of them are asked: each of these stands once in the document, the others again and
again, with other digits.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from memagent.records import Segment
from memagent.tasks.example import Example, Fact, Length, Unit, generator
from memagent.tasks.fitting import fit, sample_tokens
from memagent.tokenizer import Tokenizer

COLOURS = ("red", "blue", "green", "gold", "black", "white", "pink", "grey")
FILLER = ("leaf", "moon", "salt", "rain", "stone", "wind", "fire", "road")
DIGITS = tuple("0123456789")
NOTHING = "none"
"""The ideal memory before anything relevant was read."""

_DISTRACTORS = 0.25  # the share of a document's words that are needles nobody asks for
_ASKED = 2


@dataclass(frozen=True, slots=True)
class ColourTask:
    """Two of eight keys are asked; exact match of both values, in the question's order."""

    name: str = "colours"
    metrics: tuple[str, ...] = ("exact_match",)
    answer_tokens: int = 8
    size: None = None
    units: tuple[Unit, ...] = ("tokens",)
    placed: bool = True

    def example(self, length: Length, number: int, seed: int, tokenizer: Tokenizer) -> Example:
        draw = generator(self.name, length, number, seed)
        colours = draw.sample(COLOURS, len(COLOURS))
        asked, others = colours[:_ASKED], colours[_ASKED:]
        digits = [str(draw.randrange(10)) for _ in asked]
        question = " ".join(asked)
        depths = [draw.random() for _ in asked]
        stream = draw.random()

        def build(pieces: int) -> Example:
            words = _words(pieces, others, random.Random(stream))
            places = sorted((int(depth * (len(words) + 1)), number) for number, depth in enumerate(depths))
            for shift, (place, number) in enumerate(places):
                words.insert(place + shift, asked[number] + digits[number])
            facts = []
            for shift, (place, number) in enumerate(places):
                start = sum(len(word) + 1 for word in words[: place + shift])
                word = words[place + shift]
                facts.append(Fact(word, word, start, start + len(word)))
            return Example(
                " ".join(words), question, (" ".join(digits),), tuple(facts), "{context}\n" + f"{question}?", 0
            )

        return fit(build, length, sample_tokens(tokenizer, self.answer_tokens), 4)

    def memories(self, example: Example, segments: Iterable[Segment]) -> Iterator[str]:
        """The needles read so far, in the document's order."""
        facts = sorted(example.facts, key=lambda fact: fact.start)
        for segment in segments:
            yield " ".join(fact.text for fact in facts if fact.end <= segment.end) or NOTHING


def _words(many: int, colours: list[str], draw: random.Random) -> list[str]:
    return [
        draw.choice(colours) + str(draw.randrange(10)) if draw.random() < _DISTRACTORS else draw.choice(FILLER)
        for _ in range(many)
    ]
