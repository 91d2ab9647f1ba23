"""Where the facts of the final memory came from: the turn they entered at, and the passage of its segment."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, pairwise

from memagent.citations.facts import Fact
from memagent.citations.words import Text, words
from memagent.records import Segment, Trace

_ABSENCES = 50
"""How many memories may lack a fact, on the way back, before it is given up. A model may reword a fact beyond
recognition and back: where the latest entrance has no passage for it, the one before is tried."""

_CONTEXT_BITS = 3.0  # what a word gives away that shows that a passage speaks of the matter
_ENOUGH_BITS = 12.0  # what a passage must give away: a year, two words, a name beside a question's word
_QUESTION_SHARE = 0.25  # how much a word of the question counts: the model had it before it read anything
_KNOWN_SHARE = 0.5  # how much a missing word counts that the model had from elsewhere
_UNKNOWN_SHARE = 3.0  # how much a missing name counts that the model cannot have seen at this turn
_SENTENCE_SHARE = 0.95  # for each sentence after the first: the shortest passage is the best

_YES_OR_NO = re.compile(
    r"\s*(?:am|are|can|could|did|do|does|had|has|have|is|may|might|must|shall|should|was|were|will|would)\b", re.I
)


@dataclass(frozen=True, slots=True)
class Passage:
    """Characters of a segment's text that hold a fact. `open`: a name or a number of the fact is not in it."""

    start: int
    end: int
    score: float
    open: bool


@dataclass(frozen=True, slots=True)
class Origin:
    fact: Fact
    passage: Passage
    segment: Segment
    turn: int


def origins(trace: Trace, facts: Iterable[Fact], threshold: float) -> Iterator[Origin]:
    """The origins of facts of the final memory; where a passage leaves some of a fact open, those of its clauses, too.

    All facts are followed in one walk, so that a journal is read from disk once, and only as far back as needed.
    """
    question, memory = Text(trace.question), Text(trace.memory)
    present = list(facts)
    patience = dict.fromkeys(present, _ABSENCES)
    for turn, earlier in pairwise(chain(reversed(trace.memories), [None])):
        before = Text(earlier.completion.text if earlier else "")
        if before.text == memory.text:
            continue
        segment = turn.request.segment
        assert segment is not None
        read = Text(segment.text)
        stay = [fact for fact in patience if fact.stands_in(before)]
        entered = [fact for fact in present if fact not in stay]
        while entered:
            fact = entered.pop(0)
            passage = _passage(fact, read, before, question)
            if passage and passage.score < threshold:
                passage = None
            if passage:
                yield Origin(fact, passage, segment, turn.index)
            clauses = [] if passage and not passage.open else list(fact.clauses())
            if passage or clauses:
                del patience[fact]
            for clause in clauses:
                patience[clause] = _ABSENCES
                (stay if clause.stands_in(before) else entered).append(clause)
        for fact in patience.keys() - set(stay):
            patience[fact] -= 1
            if not patience[fact]:
                del patience[fact]
        if not patience:
            return
        present, memory = stay, before


def _passage(fact: Fact, segment: Text, before: Text, question: Text) -> Passage | None:
    """The sentences of a segment that hold most of a fact, `before` being the memory that the segment was read with."""
    own = {word for word in fact.words if not question.where(word)}
    if not own:
        if not _YES_OR_NO.match(question.text):
            return None
        own = set(fact.words)
    fresh = {word for word in fact.words if word.number and not before.where(word)}
    held, missed = {}, {}
    for word in fact.words:
        held[word] = word.bits * (1.0 if word in own else _QUESTION_SHARE)
        known = word not in own or before.where(word) or (word.name and segment.where(word))
        missed[word] = held[word] * (_KNOWN_SHARE if known else _UNKNOWN_SHARE if word.name else 1.0)
    keys = {word.key for word in own}
    around = {word.key: word for word in (*words(question.text), *(fact.whole.words if fact.whole else ()))}
    context = [segment.where(word) for key, word in around.items() if key not in keys]

    best, best_rank = None, 0.0
    for first, last, found in segment.windows(fact.words):
        near = sum(any(first <= place <= last for place in places) for places in context)
        if not fresh <= found or sum(word.bits for word in found & own) + _CONTEXT_BITS * near < _ENOUGH_BITS:
            continue
        gained, lacking = sum(held[word] for word in found), [word for word in fact.words if word not in found]
        score = gained / (gained + sum(missed[word] for word in lacking)) * _SENTENCE_SHARE ** (last - first)
        rank = score + near / 100  # of passages about as good, the one that speaks of what was asked
        if rank > best_rank:
            left_open = any(word.number or (word.name and word in own) for word in lacking)
            best = Passage(segment.sentences[first][0], segment.sentences[last][1], score, left_open)
            best_rank = rank
    return best
