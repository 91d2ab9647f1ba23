"""Practice documents for a memory agent: full of facts of many kinds, with eight questions on each document.

Questions ask for needles as in RULER, facts in everyday wordings (`told.py`), who did what (`deeds.py`), facts that
change later on, chains of variables, and things that the document does not say. The facts are in prose, in noise, or
among lines that look like them. Consecutive examples share their document, so a trainer (or an engine) reads each
segment once for all of them.
"""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice, pairwise

from memagent.core.prompts import NOTHING
from memagent.core.records import Segment
from memagent.core.tokenizer import Tokenizer
from memagent.tasks.example import Example, Fact, Length, Unit, generator
from memagent.tasks.fitting import TooShort, fit, sample_tokens
from memagent.tasks.haystacks import Haystack, hide, lines_of, noise, prose_from
from memagent.tasks.needles import ask, needle
from memagent.tasks.practice.deeds import deed
from memagent.tasks.practice.told import KINDS as TOLD
from memagent.tasks.practice.told import Kind, person, thing, town
from memagent.tasks.templates import VT
from memagent.tasks.vocabulary import KINDS, distinct, noun

Kinds = tuple[str, str]
"""Kind of a needle's key and kind of its value, both in KINDS."""

ABSENT = "The text does not say"
"""The answer to a question that the document does not answer."""

_LIKE_NEEDLES = (
    "One of the tricks of the {noun} is to keep the {thing} out of sight.",
    "One of the {noun}s in {town} belongs to {person}.",
    "One of the special {noun}s that {person} collected was the {thing}.",
    "One of the magic words that {person} knew was {key}.",
    "One of the numbers for the {noun} is missing.",
    "The special number of {key} was never written down.",
)
"""Decoys that begin or sound like a needle, as sentences of prose may."""

_TRIES = 20  # draws of questions before a document counts as too short for them


@dataclass(frozen=True, slots=True)
class PracticeQuestion:
    """A question, its answers, and the statements that they rest on, in order, each with its text."""

    question: str
    answers: tuple[str, ...]
    statements: tuple[tuple[str, str], ...] = ()
    changes: bool = False
    """Whether each statement replaces the one before."""
    decoys: tuple[str, ...] = ()
    """Statements that do not help to answer the question."""


@dataclass(frozen=True, slots=True)
class PracticeExample(Example):
    replaced: tuple[Fact, ...] = ()
    """Earlier facts that the current one replaced, in order."""


@dataclass(frozen=True, slots=True)
class PracticeTask:
    """Documents with `together` questions each: examples 0 to together - 1 share the first document."""

    prose: str
    name: str = "practice"
    together: int = 8
    metrics: tuple[str, ...] = ("boxed_items", "string_match_all")
    answer_tokens: int = 64
    size: None = None
    units: tuple[Unit, ...] = ("tokens",)
    placed: bool = True

    def example(self, length: Length, number: int, seed: int, tokenizer: Tokenizer) -> Example:
        """Return an example. With the longest question on its document, it has the length asked for."""
        sheet, which = divmod(number, self.together)
        draw = generator(self.name, length, sheet, seed)
        for _ in range(_TRIES):
            with suppress(TooShort):
                return self._drawn(draw, which, length, tokenizer)
        raise TooShort(f"{self.name} cannot be {length} long: give a larger length.")

    def _drawn(self, draw: random.Random, which: int, length: Length, tokenizer: Tokenizer) -> Example:
        """Return one of the questions on a document. Raises TooShort if the facts do not fit."""
        haystack, start, kinds = self._haystack(draw)
        makers = draw.choices(list(_SHARES), list(_SHARES.values()), k=self.together)
        items = [make(draw, kinds) for make in makers]
        keys = dict(statement for item in items for statement in item.statements)
        hidden = _in_some_order(items, draw)
        stream = draw.random()
        longest = max(items, key=lambda item: len(item.question))

        def build(pieces: int) -> PracticeExample:
            document, starts = hide(hidden, haystack(pieces, len(hidden), random.Random(stream)))
            facts = tuple(
                Fact(text, keys[text], start, start + len(text))
                for text, start in zip(hidden, starts, strict=True)
                if text in keys
            )
            return PracticeExample(document, longest.question, longest.answers, facts, _template(longest), 0)

        whole = fit(build, length, sample_tokens(tokenizer, self.answer_tokens), start * len(hidden))
        asked = items[which]
        facts = tuple(fact for fact in whole.facts if fact.text in dict(asked.statements))
        replaced = facts[:-1] if asked.changes else ()
        return PracticeExample(
            whole.document, asked.question, asked.answers, facts[len(replaced) :], _template(asked), whole.tokens,
            replaced=replaced,
        )  # fmt: skip

    def memories(self, example: Example, segments: Iterable[Segment]) -> Iterator[str]:
        replaced = example.replaced if isinstance(example, PracticeExample) else ()
        for segment in segments:
            read = [fact.text for fact in (*replaced, *example.facts) if fact.end <= segment.end]
            yield "\n".join(read[-1:] if replaced else read) or NOTHING

    def _haystack(self, draw: random.Random) -> tuple[Haystack, int, Kinds | None]:
        """Return one of four haystacks, the fewest pieces per statement, and the kinds of its needles, if any."""
        kind = draw.random()
        if kind < 0.4:
            return prose_from(self.prose, draw.randrange(len(self.prose))), 50, None
        if kind < 0.6:
            return noise, 5, None
        if kind < 0.75:
            return lines_of(_everyday), 150, None
        of, to = draw.choice([("words", "numbers")] * 2 + [("uuids", "uuids")] * 2 + [_any_kinds(draw)])
        return lines_of(lambda line: needle(to, KINDS[of](line), KINDS[to](line))), 150, (of, to)


def _everyday(draw: random.Random) -> str:
    """Draw a sentence like the statements that questions are about."""
    if draw.random() < 0.6:
        return deed(draw).told(draw)
    kind, subject = _subject(draw)
    return draw.choice(kind.told).format(s=subject, v=kind.value(draw))


def _template(asked: PracticeQuestion) -> str:
    return f"{{context}}\n\n{asked.question}"


def _any_kinds(draw: random.Random) -> Kinds:
    return draw.choice(list(KINDS)), draw.choice(list(KINDS))


def _kinds(draw: random.Random, around: Kinds | None) -> Kinds:
    """Return the kinds of the surrounding lines, most of the time: a needle is hard to find among similar ones."""
    return around if around and draw.random() < 0.8 else _any_kinds(draw)


def _magic(draw: random.Random, around: Kinds | None) -> PracticeQuestion:
    """Draw a question about one key with one value."""
    return _needles(draw, _kinds(draw, around), 1, 1)


def _magics(draw: random.Random, around: Kinds | None) -> PracticeQuestion:
    """Draw a question about several keys, or about several values of a key."""
    many = draw.choice([(1, 2), (1, 3), (1, 4), (1, 4), (2, 1), (3, 1), (4, 1), (4, 1), (2, 2)])
    return _needles(draw, _kinds(draw, around), *many)


def _needles(draw: random.Random, kinds: Kinds, queries: int, values: int) -> PracticeQuestion:
    of, to = kinds
    if queries * values > 2:
        of, to = "words", "numbers"  # uuids would fill any memory
    keys = distinct(KINDS[of], queries, draw)
    found = distinct(KINDS[to], queries * values, draw)
    pairs = [(keys[place // values], value) for place, value in enumerate(found)]
    draw.shuffle(pairs)
    answers = tuple(value for key in keys for of_key, value in pairs if of_key == key)
    statements = tuple((needle(to, key, value), value) for key, value in pairs)
    return PracticeQuestion(ask(to, keys, values), answers, statements, decoys=_like_needles(draw))


def _like_needles(draw: random.Random) -> tuple[str, ...]:
    return tuple(
        draw.choice(_LIKE_NEEDLES).format(
            noun=noun(draw), thing=thing(draw), town=town(draw), person=person(draw), key=KINDS["words"](draw)
        )
        for _ in range(_few(draw))
    )


def _told(draw: random.Random, _around: Kinds | None) -> PracticeQuestion:
    kind, subject = _subject(draw)
    value = kind.value(draw)
    statement = draw.choice(kind.told).format(s=subject, v=value)
    decoys = [draw.choice(kind.told).format(s=kind.subject(draw), v=kind.value(draw)) for _ in range(_few(draw))]
    return PracticeQuestion(_question(kind, subject, draw), (value,), ((statement, value),), decoys=tuple(decoys))


def _deed(draw: random.Random, _around: Kinds | None) -> PracticeQuestion:
    """Draw a question about a deed, with similar deeds as decoys."""
    done = deed(draw)
    question, answer = done.asked(draw)
    decoys = [other.told(draw) for other in islice(done.near(draw), _few(draw))]
    return PracticeQuestion(question, (answer,), ((done.told(draw), answer),), decoys=tuple(decoys))


def _few(draw: random.Random) -> int:
    """Draw a number of decoys; more would leave no room in a short document."""
    return draw.choice([0, 1, 1, 2])


def _changed(draw: random.Random, _around: Kinds | None) -> PracticeQuestion:
    """Draw a question about a value that changes; the last statement counts."""
    kind, subject = _subject(draw)
    values = distinct(kind.value, draw.choice([2, 2, 3]), draw)
    told = [draw.choice(kind.told).format(s=subject, v=value) for value in values]
    begin = ("Correction: ", "As is now known: ", "Forget what was said before: ")
    opening = draw.choice(begin)
    statements = zip([told[0], *(opening + text for text in told[1:])], values, strict=True)
    other, about = _subject(draw)
    decoy = draw.choice(begin) + draw.choice(other.told).format(s=about, v=other.value(draw))
    return PracticeQuestion(
        _question(kind, subject, draw), (values[-1],), tuple(statements), changes=True, decoys=(decoy,)
    )


def _absent(draw: random.Random, around: Kinds | None) -> PracticeQuestion:
    """Draw a question without an answer. The decoys say other things about its subject, or the same about another."""
    if draw.random() < 0.3:
        of, to = _kinds(draw, around)
        near = needle(to, KINDS[of](draw), KINDS[to](draw))
        return PracticeQuestion(ask(to, [KINDS[of](draw)], 1), (ABSENT,), decoys=(near,))
    if draw.random() < 0.4:
        missing = deed(draw)
        decoys = [other.told(draw) for other in islice(missing.near(draw), 2)]
        return PracticeQuestion(missing.asked(draw)[0], (ABSENT,), decoys=tuple(decoys))
    kind, subject = _subject(draw)
    decoys = [draw.choice(kind.told).format(s=kind.subject(draw), v=kind.value(draw))]
    others = [other for other in TOLD if other.subject is kind.subject and other is not kind]
    other = draw.choice(others)
    decoys.append(draw.choice(other.told).format(s=subject, v=other.value(draw)))
    return PracticeQuestion(_question(kind, subject, draw), (ABSENT,), decoys=tuple(decoys))


def _chain(draw: random.Random, _around: Kinds | None) -> PracticeQuestion:
    """Draw a question about a chain of variables, as in RULER's vt."""
    names = distinct(lambda d: "".join(d.choices(string.ascii_uppercase, k=5)), draw.choice([2, 3, 4, 5, 5]), draw)
    value = str(draw.randint(10_000, 99_999))
    links = [f"VAR {names[0]} = {value}", *(f"VAR {name} = VAR {before}" for before, name in pairwise(names))]
    question = VT.replace("{context}\n", "").format(query=value)
    decoy = "VAR {} = {}".format(
        *distinct(lambda d: "".join(d.choices(string.ascii_uppercase, k=5)), 1, draw), value[::-1]
    )
    statements = tuple(zip(links, names, strict=True))
    return PracticeQuestion(question, tuple(names), statements, decoys=(decoy,) * (value[::-1] != value))


_SHARES: dict[Callable[[random.Random, Kinds | None], PracticeQuestion], float] = {
    _magic: 0.13,
    _magics: 0.29,
    _told: 0.13,
    _deed: 0.17,
    _changed: 0.05,
    _chain: 0.13,
    _absent: 0.1,
}
"""Makers of questions, each with its share."""


def _subject(draw: random.Random) -> tuple[Kind, str]:
    kind = draw.choice(TOLD)
    return kind, kind.subject(draw)


def _question(kind: Kind, subject: str, draw: random.Random) -> str:
    return draw.choice(kind.asked).format(s=subject)


def _in_some_order(items: Iterable[PracticeQuestion], draw: random.Random) -> list[str]:
    """Return all statements and decoys, mixed; those of one question stay in their order."""
    queues = [[text for text, _ in item.statements] + list(item.decoys) for item in items]
    turns = [number for number, queue in enumerate(queues) for _ in queue]
    draw.shuffle(turns)
    return [queues[number].pop(0) for number in turns]
