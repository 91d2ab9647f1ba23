"""A long generated document with facts hidden in it, and a question about one of them.

    The dredger swung at its moorings all afternoon … The keeper of the Marlow lighthouse hid the brass compass in
    the linen cupboard. … What did the keeper of the Marlow lighthouse hide?

The prose around the facts is drawn from word lists. A seed gives the same prose on every machine.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

_PLACES = "Marlow Harrow Tenby Skerry Calder Wexley Orsay Dunmore Fairlie Penrith Arden Lowick Ravel Sutter".split()
_THINGS = (
    "brass compass|silver flute|sealed letter|jade chessman|copper kettle|glass marble|tin whistle|velvet glove|"
    "ivory comb|painted fan|broken clock|coral necklace|leather diary|walnut box"
).split("|")
_SPOTS = (
    "linen cupboard|coal cellar|flour barrel|attic trunk|boat shed|pantry wall|clock case|woodpile|rain barrel|"
    "piano stool|bread oven|wine rack|garden well|hay loft"
).split("|")
_WHO = (
    "the dredger|an old ferry|the postman|a flock of starlings|the harbour master|a travelling tinker|the tide|"
    "a grey cat|the baker's boy|the parish clerk|a loose shutter|the evening train|a row of poplars|the miller"
).split("|")
_DID = (
    "drifted past|waited by|turned towards|came back from|lingered near|was seen again at|crossed|kept away from|"
    "stood in front of|passed under|leaned against|went round"
).split("|")
_WHERE = (
    "the jetty|the market square|the empty mill|the churchyard wall|the long bridge|the orchard|the slipway|"
    "the toll house|the chestnut tree|the lower meadow|the quarry|the chapel steps"
).split("|")
_WHEN = (
    "all afternoon|before the rain|without a sound|as it did every autumn|while the bells rang|until dusk|"
    "in a thin mist|for the third time that week|and nobody remarked on it|although the wind had dropped|"
    "after the lamps were lit|to everybody's surprise"
).split("|")


@dataclass(frozen=True, slots=True)
class Demo:
    """A document, a question about it, and the words that a right answer must contain."""

    document: str
    question: str
    answer: str


def make_demo(characters: int, seed: int = 0, facts: int = 4) -> Demo:
    """Make a document of about `characters` characters with `facts` facts, one in each equal stretch of it.

    Raises:
        ValueError: there are more facts than places (14), or the document is too short for the facts.
    """
    if not 1 <= facts <= len(_PLACES) or characters < 200 * facts:
        raise ValueError(
            f"{facts} facts in {characters} characters: give 1 to {len(_PLACES)} facts, and 200 characters for each."
        )
    draw = random.Random(seed)
    hidden = list(zip(*(draw.sample(pool, facts) for pool in (_PLACES, _THINGS, _SPOTS)), strict=True))
    stretch = characters // facts
    parts = []
    for place, thing, spot in hidden:
        fact = f"The keeper of the {place} lighthouse hid the {thing} in the {spot}."
        parts.append(_stretch(draw, stretch, fact))
    place, thing, _ = hidden[draw.randrange(facts)]
    return Demo("".join(parts), f"What did the keeper of the {place} lighthouse hide?", thing)


def is_right(expected: str, answer: str) -> bool:
    """Whether an answer names the expected thing, and none of the others."""
    said = " ".join(answer.lower().split())
    return expected in said and not any(thing in said for thing in _THINGS if thing != expected)


def _stretch(draw: random.Random, characters: int, fact: str) -> str:
    """Return paragraphs of about `characters` characters, with the fact at a random place among their sentences."""
    sentences, length = [], len(fact)
    while length < characters:
        sentence = f"{draw.choice(_WHO)} {draw.choice(_DID)} {draw.choice(_WHERE)} {draw.choice(_WHEN)}."
        sentences.append(sentence[0].upper() + sentence[1:])
        length += len(sentence) + 1
    sentences.insert(draw.randrange(len(sentences) + 1), fact)
    return "\n\n".join(" ".join(paragraph) for paragraph in _paragraphs(draw, sentences)) + "\n\n"


def _paragraphs(draw: random.Random, sentences: list[str]) -> Iterator[list[str]]:
    start = 0
    while start < len(sentences):
        size = draw.randint(3, 8)
        yield sentences[start : start + size]
        start += size
