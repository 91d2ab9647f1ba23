"""RULER's eight needle-in-a-haystack tasks.

The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again.
One of the special magic numbers for abrasive-pathology is: 8090293.
The grass is green. …
What is the special magic number for abrasive-pathology mentioned in the provided text?  ->  8090293
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from memagent.core.records import Segment
from memagent.core.tokenizer import Tokenizer
from memagent.tasks.example import Example, Fact, Length, Unit, facts_read, generator
from memagent.tasks.fitting import fit, sample_tokens
from memagent.tasks.haystacks import Haystack, hide, lines_of, noise, prose_from
from memagent.tasks.templates import NEEDLE, NIAH, NIAH_PREFIX, singular
from memagent.tasks.vocabulary import KINDS, distinct

Kind = Literal["words", "numbers", "uuids"]


@dataclass(frozen=True, slots=True)
class NeedleTask:
    """Keys with values hidden in a haystack, and a question about some of the keys.

    Args:
        haystack: "noise", "needles" (every line is a distractor), or "prose", which takes its text from `prose`.
        key_kind, value_kind: kind of the keys, and kind of the values.
        keys, values, queries: number of hidden keys, values per key, and keys asked about.
    """

    name: str
    haystack: Literal["noise", "needles", "prose"]
    key_kind: Kind = "words"
    value_kind: Kind = "numbers"
    keys: int = 1
    values: int = 1
    queries: int = 1
    prose: str = ""
    metrics: tuple[str, ...] = ("string_match_all", "boxed_all")
    answer_tokens: int = 128
    size: None = None
    units: tuple[Unit, ...] = ("tokens",)
    placed: bool = True
    together: int = 1

    def example(self, length: Length, number: int, seed: int, tokenizer: Tokenizer) -> Example:
        draw = generator(self.name, length, number, seed)
        keys = distinct(KINDS[self.key_kind], self.keys, draw)
        values = distinct(KINDS[self.value_kind], self.keys * self.values, draw)
        hidden = [(keys[place // self.values], value) for place, value in enumerate(values)]
        draw.shuffle(hidden)
        asked = draw.sample(keys, self.queries)
        answers = tuple(value for key in asked for of, value in hidden if of == key)
        needles = [needle(self.value_kind, key, value) for key, value in hidden]
        question = ask(self.value_kind, asked, self.values)
        template = _fill(NIAH + NIAH_PREFIX, self.value_kind, asked, self.values)
        haystack = self._haystack(set(keys), set(values), draw.random())

        def build(pieces: int) -> Example:
            places = random.Random(f"{self.name}/{length}/{number}/{seed}/places")
            document, starts = hide(needles, haystack(pieces, len(needles), places))
            facts = tuple(
                Fact(needle, value, start, start + len(needle))
                for (key, value), needle, start in zip(hidden, needles, starts, strict=True)
                if key in asked
            )
            return Example(document, question, answers, facts, template, 0)

        start = {"noise": 5, "needles": 150, "prose": 50}[self.haystack] * len(needles)
        return fit(build, length, sample_tokens(tokenizer, self.answer_tokens), start)

    def memories(self, example: Example, segments: Iterable[Segment]) -> Iterator[str]:
        return facts_read(example, segments)

    def _haystack(self, keys: set[str], values: set[str], begin: float) -> Haystack:
        if self.haystack == "noise":
            return noise
        if self.haystack == "prose":
            return prose_from(self.prose, int(begin * len(self.prose)))

        def distractor(draw: random.Random) -> str:
            key, value = KINDS[self.key_kind](draw), KINDS[self.value_kind](draw)
            return distractor(draw) if key in keys or value in values else needle(self.value_kind, key, value)

        return lines_of(distractor)


def needle(kind: str, key: str, value: str) -> str:
    """Return the sentence to be found; `kind` is the kind of the value."""
    return NEEDLE.format(type_needle_v=kind, key=key, value=value)


def ask(kind: str, keys: Sequence[str], values: int) -> str:
    """Return the question a memory agent is asked about keys that have `values` values each."""
    return _fill(NIAH.replace("{context}\n", ""), kind, keys, values)


def _fill(template: str, kind: str, keys: Sequence[str], values: int) -> str:
    """Fill in the template for these keys, leaving `{context}` in it."""
    if len(keys) * values == 1:
        template, kind = singular(template), kind.removesuffix("s")
    query = ", ".join(keys[:-1]) + ", and " + keys[-1] if len(keys) > 1 else keys[0]
    return template.format(type_needle_v=kind, query=query, context="{context}")
