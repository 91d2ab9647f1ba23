"""Find where the facts of the final memory came from: the turn where they entered, and the passage in its segment."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import fsum

from memagent.core.records import Trace, Turn
from memagent.evidence.claims import Claim
from memagent.evidence.wording import Text, in_order, words

_ABSENCES = 50
"""Number of memories without a fact, going back, after which the search for its origin is given up.

A model may reword a fact beyond recognition and later restore it. So if no passage is found where the fact last
appeared, the search continues to where it appeared before that.
"""

_CONTEXT_BITS = 3.0  # bits that each question word in a passage adds, because it shows what the passage is about
_ENOUGH_BITS = 12.0  # bits that a passage needs: a year, two words, or a name next to a question's word
_KNOWN_SHARE = 0.5  # weight of a missing word that the model had from elsewhere: the passage may say "she"
_UNKNOWN_SHARE = 3.0  # weight of a missing name that the model cannot have seen at this turn
_SENTENCE_SHARE = 0.95  # factor for each sentence after the first: each must add something

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
    """Index of the turn that read the quote."""
    score: float
    """Share of the fact that the quote holds, from 0 to 1: the share of its words' bits, where inflections match, or
    the share of its exact words in order, whichever is less."""
    fact: str
    """Piece of the final memory that the quote supports."""


@dataclass(frozen=True, slots=True)
class _Passage:
    """Characters of a segment's text that hold a fact. `open`: a name or number of the fact is missing."""

    start: int
    end: int
    score: float
    open: bool


def follow(trace: Trace, facts: Iterable[Claim], threshold: float) -> Iterator[tuple[Claim, Citation]]:
    """Yield the passages that facts of the final memory came from.

    If a fact has no passage, or an open one, the passages of its clauses follow.

    All facts are followed in one walk back, so that each memory is read from a journal once. The walk ends when every
    fact has its passage or is given up. A fact that the memory never lost is followed to the first turn.
    """
    question, memory, last = Text(trace.question), Text(trace.memory), len(trace.memories)
    look = lru_cache(_ABSENCES)(trace.memories.__getitem__)
    texts = lru_cache(_ABSENCES)(lambda number: _segment(look(number)))
    present = list(facts)
    patience = dict.fromkeys(present, _ABSENCES)
    for place in reversed(range(last)):
        before = Text(look(place - 1).memory if place else "")
        if before.text == memory.text:
            continue
        stay = [fact for fact in patience if fact.stands_in(before)]
        entered = [fact for fact in present if fact not in stay]
        read = list(_sources(look, place, entered)) if entered else []
        while entered:
            fact = entered.pop()
            found = [(look(number), _passage(fact, texts(number), before, question)) for number in read]
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


def _sources(look: Callable[[int], Turn], place: int, facts: Sequence[Claim]) -> Iterator[int]:
    """Yield the indices of the turns that `facts` may come from: new facts in the memory after the turn at `place`.

    That turn counts, and so does each turn since the memory last changed whose reply has a word of a fact. Turns
    without a segment do not count.
    """
    for turn in _since(look, place):
        reply = Text(turn.completion.text)
        if turn.index == place or any(reply.where(word) for fact in facts for word in fact.words):
            yield turn.index


def _segment(turn: Turn) -> Text:
    assert turn.request.segment is not None
    return Text(turn.request.segment.text)


def _since(look: Callable[[int], Turn], place: int) -> Iterator[Turn]:
    """Yield the turns that read a segment, from the turn at `place` back to just after the previous change of memory.

    A reader that reads several segments at the same time makes one memory from all the replies.
    """
    turn = look(place)
    if turn.request.segment:
        yield turn
    if not place:
        return
    before = look(place - 1)
    for number in range(place - 1, -1, -1):
        turn, earlier = before, look(number - 1) if number else None
        if turn.memory != (earlier.memory if earlier else ""):
            return
        if turn.request.segment:
            yield turn
        if earlier:
            before = earlier


def _citation(turn: Turn, fact: Claim, passage: _Passage) -> Citation:
    segment = turn.request.segment
    assert segment is not None
    quote = segment.text[passage.start : passage.end]
    start = segment.start + passage.start + len(quote) - len(quote.lstrip())
    quote = quote.strip()
    score = min(passage.score, in_order(fact.text, quote))
    return Citation(start, start + len(quote), quote, turn.index, score, fact.text)


def _passage(fact: Claim, segment: Text, before: Text, question: Text) -> _Passage | None:
    """Return the sentences of a segment that hold most of a fact. `before` is the memory before the segment's turn."""
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
        rank = score + near / 100  # of equally good passages, prefer the one about the question
        if rank > best_rank:
            left_open = any(word.number or (word.name and word in own) for word in lacking)
            best = _Passage(segment.sentences[first][0], segment.sentences[last][1], score, left_open)
            best_rank = rank
    return best
