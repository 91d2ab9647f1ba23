"""RULER's variable tracking.

    VAR XKQPL = 97498
    The grass is green. The sky is blue. …
    VAR BMTNE = VAR XKQPL
    …
    Find all variables that are assigned the value 97498 in the text above.  ->  XKQPL, BMTNE, …

The whole prompt begins with one example whose names have three letters; a memory agent does not see it.
"""

from __future__ import annotations

import random
import string
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from memagent.core.records import Segment
from memagent.core.tokenizer import Tokenizer
from memagent.tasks.example import Example, Fact, Length, Unit, facts_read, generator
from memagent.tasks.fitting import fit, sample_tokens
from memagent.tasks.haystacks import hide, noise
from memagent.tasks.templates import VT, VT_PREFIX
from memagent.tasks.vocabulary import distinct

_SHOT_PIECES = 25  # sentences of noise in the in-context example: five lines


@dataclass(frozen=True, slots=True)
class TracingTask:
    """One chain of assignments: a variable with a value, then `hops` variables, each assigned the one before."""

    name: str = "vt"
    hops: int = 4
    metrics: tuple[str, ...] = ("string_match_all", "boxed_all")
    answer_tokens: int = 30
    size: None = None
    units: tuple[Unit, ...] = ("tokens",)
    placed: bool = True
    together: int = 1

    def example(self, length: Length, number: int, seed: int, tokenizer: Tokenizer) -> Example:
        draw = generator(self.name, length, number, seed)
        shot_names, shot_value, shot_chain = self._chain(3, draw)
        shot_document, _ = hide(shot_chain, noise(_SHOT_PIECES, len(shot_chain), draw))
        shot = self._prompt(VT + VT_PREFIX, shot_value).replace("{context}", shot_document) + " ".join(shot_names)
        names, value, chain = self._chain(5, draw)
        template = shot + "\n" + self._prompt(VT + VT_PREFIX, value)

        def build(pieces: int) -> Example:
            places = random.Random(f"{self.name}/{length}/{number}/{seed}/places")
            document, starts = hide(chain, noise(pieces, len(chain), places))
            facts = tuple(
                Fact(link.strip(), name, start, start + len(link.strip()))
                for name, link, start in zip(names, chain, starts, strict=True)
            )
            question = self._prompt(VT.replace("{context}\n", ""), value)
            return Example(document, question, tuple(names), facts, template, 0)

        return fit(build, length, sample_tokens(tokenizer, self.answer_tokens), 5 * len(chain))

    def memories(self, example: Example, segments: Iterable[Segment]) -> Iterator[str]:
        return facts_read(example, segments)

    def _chain(self, letters: int, draw: random.Random) -> tuple[list[str], str, list[str]]:
        """Return the names, the value, and the assignments."""
        names = distinct(lambda d: "".join(d.choices(string.ascii_uppercase, k=letters)), self.hops + 1, draw)
        value = str(draw.randint(10_000, 99_999))
        links = [f"VAR {name} = VAR {before} " for before, name in pairwise(names)]
        return names, value, [f"VAR {names[0]} = {value}", *links]

    def _prompt(self, template: str, value: str) -> str:
        return template.format(context="{context}", query=value, num_v=self.hops + 1)
