"""Where the facts of the final memory came from: the turn they entered at, and the passage of its segment."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import fsum

from memagent.core.records import Segment, Trace, Turn
from memagent.evidence.claims import Claim
from memagent.evidence.wording import Text, in_order, words

_ABSENCES = 50
"""How many memories may lack a fact, on the way back, before it is given up. A model may reword a fact beyond
recognition and back: where the latest entrance has no passage for it, the one before is tried."""

_CONTEXT_BITS = 3.0  # what a word gives away that shows that a passage speaks of the matter
_ENOUGH_BITS = 12.0  # what a passage must give away: a year, two words, a name beside a question's word
_KNOWN_SHARE = 0.5  # how much a missing word counts that the model had from elsewhere: the passage may say "she"
_UNKNOWN_SHARE = 3.0  # how much a missing name counts that the model cannot have seen at this turn
_SENTENCE_SHARE = 0.95  # for each sentence after the first: another one must bring something

_YES_OR_NO = re.compile(
    r"\s*(?:am|are|can|could|did|do|does|had|has|have|is|may|might|must|shall|should|was|were|will|would)\b", re.I
)


@dataclass(frozen=True, slots=True)
class Citation:
    """A span of the document that a fact of the final memory came from: `document[start:end] == quote`."""

    start: int
    end: int
    quote: str
    turn: int
    """The index of the turn that read it."""
    score: float
    """How much of the fact the quote holds, from 0 to 1: of what its words give away, where an inflection counts as the
    word, or of its words as they are and in their order; whichever is less."""
    fact: str
    """The piece of the final memory that it supports."""


@dataclass(frozen=True, slots=True)
class _Passage:
    """Characters of a segment's text that hold a fact. `open`: a name or a number of the fact is not in it."""

    start: int
    end: int
    score: float
    open: bool


def follow(trace: Trace, facts: Iterable[Claim], threshold: float) -> Iterator[tuple[Claim, Citation]]:
    """The passages that facts of the final memory came from; of what they leave open, those of the fact's clauses, too.

    All facts are followed in one walk back, so that each memory is read from a journal once, and only until every fact
    has its passage or is given up. A fact that the memory never lost is followed to the first turn.
    """
    question, memory, last = Text(trace.question), Text(trace.memory), len(trace.memories)
    look = lru_cache(_ABSENCES)(trace.memories.__getitem__)
    present = list(facts)
    patience = dict.fromkeys(present, _ABSENCES)
    for place in reversed(range(last)):
        before = Text(look(place - 1).memory if place else "")
        if before.text == memory.text:
            continue
        stay = [fact for fact in patience if fact.stands_in(before)]
        entered = [fact for fact in present if fact not in stay]
        if entered:
            read = [(turn, Text(segment.text)) for turn, segment in _read(look, place)]
        while entered:
            fact = entered.pop()
            found = [(turn, _passage(fact, text, before, question)) for turn, text in read]
            turn, passage = max(found, key=lambda each: each[1].score if each[1] else 0.0, default=(None, None))
            if passage and passage.score < threshold:
                passage = None
            if turn and passage:
                yield fact, _citation(turn, fact, passage)
            clauses = [] if passage and not passage.open else list(fact.clauses())
            if passage or clauses:
                del patience[fact]
            for clause in clauses:
                patience[clause] = _ABSENCES
                (stay if clause.stands_in(before) else entered).append(clause)
        patience = {fact: left - (fact not in stay) for fact, left in patience.items() if left}
        if not patience:
            return
        present, memory = stay, before


def _read(look: Callable[[int], Turn], place: int) -> Iterator[tuple[Turn, Segment]]:
    """What a memory may have its news from: the segments of its turn's wave.

    Where none was read in that wave, as when memories are merged, those that were read since the last such wave.
    """
    wave, seen = look(place).wave, False
    for turn in map(look, range(place, max(place - _ABSENCES, -1), -1)):
        if turn.wave != wave and (seen or turn.request.segment is None):
            return
        if turn.request.segment:
            seen = seen or turn.wave == wave
            yield turn, turn.request.segment


def _citation(turn: Turn, fact: Claim, passage: _Passage) -> Citation:
    segment = turn.request.segment
    assert segment is not None
    quote = segment.text[passage.start : passage.end]
    start = segment.start + passage.start + len(quote) - len(quote.lstrip())
    quote = quote.strip()
    score = min(passage.score, in_order(fact.text, quote))
    return Citation(start, start + len(quote), quote, turn.index, score, fact.text)


def _passage(fact: Claim, segment: Text, before: Text, question: Text) -> _Passage | None:
    """The sentences of a segment that hold most of a fact, `before` being the memory that the segment was read with."""
    own = {word for word in fact.words if not question.where(word)}
    if not own:
        if not _YES_OR_NO.match(question.text):
            return None
        own = set(fact.words)
    fresh = {word for word in fact.words if word.number and not before.where(word)}
    missed = {}
    for word in fact.words:
        known = word not in own or before.where(word) or (word.name and segment.where(word))
        missed[word] = word.bits * (_KNOWN_SHARE if known else _UNKNOWN_SHARE if word.name else 1.0)
    keys = {word.key for word in own}
    around = {word.key: word for word in (*words(question.text), *(fact.whole.words if fact.whole else ()))}
    context = [set(segment.where(word)) for key, word in around.items() if key not in keys]

    best, best_rank = None, 0.0
    for first, last, found in segment.windows(fact.words):
        if not fresh <= found:
            continue
        near = sum(not places.isdisjoint(range(first, last + 1)) for places in context)
        if fsum(word.bits for word in found & own) + _CONTEXT_BITS * near < _ENOUGH_BITS:
            continue
        gained, lacking = fsum(word.bits for word in found), [word for word in fact.words if word not in found]
        score = gained / (gained + fsum(missed[word] for word in lacking)) * _SENTENCE_SHARE ** (last - first)
        rank = score + near / 100  # of passages about as good, the one that speaks of what was asked
        if rank > best_rank:
            left_open = any(word.number or (word.name and word in own) for word in lacking)
            best = _Passage(segment.sentences[first][0], segment.sentences[last][1], score, left_open)
            best_rank = rank
    return best
