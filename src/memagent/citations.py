"""From the memory an answer was given from, back to the spans of the document that the memory came from.

The final memory is split into facts. Each fact is followed back through the memories to the turn where it entered,
and looked for in that turn's segment only: what a memory shows first at turn k came from segment k.

A passage is one to three sentences, and is scored by how much of the fact's words it holds, each word weighed by
what it gives away: a number more than a name, a name more than a word, and the question's own words little, since
the model had them before it read anything. A model rewords, so words are compared without case, accents and
line breaks, and allow for inflection (rapidfuzz); a rewording in other words than the document's is not found.

What gets no citation, on purpose:
- A fact with a number that the passage does not hold exactly, unless the memory had that number before; where
  numbers were gathered from several segments into one line, each part of the line is followed by itself.
- A fact that adds nothing to the question's words; except for a yes-or-no question, whose answer it may be.
- The answer itself: it is written from the memory alone, so only the facts of the memory can vouch for it.

Whether a passage denies what the fact asserts is not seen: words are compared, not meanings.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise

from rapidfuzz import fuzz
from rapidfuzz.distance import JaroWinkler

from memagent.records import Trace, Turn

_THRESHOLD = (
    0.6  # of 150 sentences of one novel, looked for in another, one reached it; most paraphrases of a passage do
)
_PRESENT = 0.75  # of a fact's words, near each other in a memory: it is there, reworded
_RUNS = 5  # times that a fact may have come and gone before we stop looking further back
_PASSAGE = 700  # characters that several sentences may have together
_SENTENCE = 400  # characters after which a text without full stops is cut at a line or word end

_WORD_BITS, _NAME_BITS, _DIGIT_BITS, _CONTEXT_BITS = 6.0, 10.0, 3.4, 3.0
_ENOUGH_BITS = 12.0  # what the words found must give away together: a year, two words, a name beside a question's word
_QUESTION_SHARE = 0.25  # how much a word of the question counts
_KNOWN_SHARE = (
    0.5  # how much a missing word counts that the memory had before, or a name that the segment has elsewhere
)
_UNKNOWN_NAME_SHARE = 3.0  # how much a missing name counts that the model cannot have seen at this turn


@dataclass(frozen=True, slots=True)
class Citation:
    """A span of the document that a fact of the final memory came from: `document[start:end] == quote`."""

    start: int
    end: int
    quote: str
    turn: int
    """The index of the turn that read it."""
    score: float
    """How much of the fact the quote holds, from 0 to 1."""
    fact: str
    """The piece of the final memory that it supports."""


def cite(trace: Trace, *, threshold: float = _THRESHOLD, most: int = 8) -> list[Citation]:
    """The passages behind the final memory, those that bear on the answer first; at most `most`.

    First come the facts that share words with the answer, then those that share words with the question (a chain
    of facts names only its end in the answer); facts that share none with either are left out.
    """
    if not trace.memories:
        return []
    past = _Past(trace)
    ranked: list[tuple[float, float, Citation]] = []
    for fact in _facts(trace.memory):
        about_answer, about_question = _shared(fact.words, past.answer), _shared(fact.words, past.question)
        if about_answer or about_question:
            ranked += ((about_answer, about_question, found) for found in past.origins(fact, threshold))
    ranked.sort(key=lambda item: (-item[0], -item[1], -item[2].score, item[2].start))
    return _merged([citation for _, _, citation in ranked], trace)[:most]


def _merged(citations: Iterable[Citation], trace: Trace) -> list[Citation]:
    """Citations whose spans overlap become one, in the place and with the fact of the first."""
    kept: list[Citation] = []
    for new in citations:
        touched = [old for old in kept if old.start < new.end and new.start < old.end]
        if not touched:
            kept.append(new)
            continue
        first, group = touched[0], [*touched, new]
        start, end = min(each.start for each in group), max(each.end for each in group)
        segment = trace.turns[first.turn].request.segment
        assert segment is not None
        quote = segment.text[start - segment.start : end - segment.start]
        union = Citation(start, end, quote, first.turn, max(each.score for each in group), first.fact)
        kept = [union if each is first else each for each in kept if each not in touched[1:]]
    return kept


# ---- words ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Word:
    """A word that says something. `name` is one in capitals where a sentence would not ask for them."""

    key: str
    start: int
    bits: float
    number: bool
    name: bool


_TOKEN = re.compile(r"\d+(?:[.,]\d+)+|[^\W_]+(?:-\n[^\W_]+)*")
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+")
_THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_MEASURE = re.compile(r"(\d+)(?:st|nd|rd|th|km|kg|cm|mm|am|pm)")
_NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen twenty"
)
_DIGITS = {word: str(number) for number, word in enumerate(_NUMBERS.split())}
_SAY_NOTHING = (
    # what English says anyway
    "a about after again all also although am an and any are as at be because been before being between both but "
    "by can cannot could did do does doing during each either for from further had has have having he her here "
    "hers herself him himself his how however i if in into is it its itself just let may me might mine more most "
    "must my myself no nor not now of off on once one only or other our ours out over own per same shall she "
    "should since so some such than that the their theirs them themselves then there these they this those though "
    "through thus to too under until up upon us very was we were what when where whether which while who whom "
    "whose why will with within without would yes yet you your yours true false none unknown "
    # what a memory says of itself
    "according additional answer answers article based boxed contain contains context describe described "
    "describes detail details fact facts found include includes including indicate indicates info information key "
    "known mention mentioned mentions memory new note notes passage previous problem prompt provided question "
    "refers relevant section segment specific stated states summary text therefore update updated "
)
_STOP = frozenset(_SAY_NOTHING.split())
_YES_OR_NO = re.compile(
    r"\s*(?:am|are|can|could|did|do|does|had|has|have|is|may|might|must|shall|should|was|were|will|would)\b", re.I
)


@lru_cache(maxsize=1 << 16)
def _key(token: str) -> str:
    """The token without case, accents, line breaks and thousands separators; "" when it says nothing."""
    if not token.isascii():
        token = "".join(c for c in unicodedata.normalize("NFKD", token) if not unicodedata.combining(c))
    key = token.casefold().replace("-\n", "")
    if _THOUSANDS.fullmatch(key):
        key = key.replace(",", "")
    elif measure := _MEASURE.fullmatch(key):
        key = measure[1]
    if key in _STOP or (len(key) == 1 and key.isascii() and not key.isdigit()):
        return ""  # "one" among them: it is a pronoun too often to be the number
    return _DIGITS.get(key, key)


def _tokens(text: str) -> Iterator[tuple[int, str]]:
    """Where each word starts, and the word; scripts without spaces in pairs of characters."""
    for match in _TOKEN.finditer(text):
        start, token = match.start(), match[0]
        if "," in token and not _THOUSANDS.fullmatch(token):
            for part in re.finditer(r"[^,]+", token):
                yield start + part.start(), part[0]
        elif token.isascii() or not _UNSPACED.search(token):
            yield start, token
        else:
            for run in re.finditer(rf"{_UNSPACED.pattern}|[^\W_]", token):
                for place in range(run.start(), max(run.end() - 1, run.start() + 1)):
                    yield start + place, token[place : min(place + 2, run.end())]


def _words(text: str) -> tuple[_Word, ...]:
    """The words of a fact, each once."""
    tokens = [(start, token, key) for start, token in _tokens(text) if (key := _key(token))]
    # A word after a full stop or a colon, and every word of a title, has its capital for another reason.
    title = all(token[0].isupper() or token[0].isdigit() for _, token, _ in tokens)
    label = _label_end(text)
    words: dict[str, _Word] = {}
    for start, token, key in tokens:
        number = any(c.isdigit() for c in token)
        capital = token[0].isupper() and start >= label
        first = not text[label:start].strip(" \n\t\"'“‘«([*_")
        bits = min(len(key), 6) * _DIGIT_BITS if number else _NAME_BITS if capital else _WORD_BITS
        name = capital and not first and not title and not number
        words.setdefault(key, _Word(key, start, bits * (0.5 if start < label else 1.0), number, name))
    return tuple(words.values())


def _label_end(text: str) -> int:
    """Where the value starts in "Key: value"; 0 in an ordinary sentence."""
    match = re.match(r"[^.:\n]{1,60}:\s+(?=\S)", text)
    return match.end() if match and len(match[0].split()) <= 5 else 0


@lru_cache(maxsize=1 << 16)
def _alike(a: str, b: str) -> bool:
    return JaroWinkler.similarity(a, b) >= 0.9


# ---- texts ------------------------------------------------------------------------------------------------------

_SENTENCE_END = re.compile(
    r"(?<!\bMr)(?<!\bMrs)(?<!\bMs)(?<!\bDr)(?<!\bSt)(?<!\bvs)(?<!\bNo)(?<!\b[A-Z])[.!?…][\"'”’»)\]*_]*\s+(?![a-z])"
    r"|[。！？]\s*|\n\s*\n\s*|\f\s*|\n(?=\s*(?:[-*•‣+#|]|\d{1,3}[.)])\s)"
)
_LINE_END = re.compile(r"\n\s*")


class _Text:
    """A text to look into: its sentences, and where each word stands."""

    def __init__(self, text: str, *, lines: bool) -> None:
        """With `lines` every line break ends a sentence, as in a memory; documents break lines within sentences."""
        self.text = text
        self._lines = lines

    @cached_property
    def sentences(self) -> list[tuple[int, int]]:
        """They follow each other without gaps, white space included."""
        ends = {match.end() for match in _SENTENCE_END.finditer(self.text)}
        if self._lines:
            ends |= {match.end() for match in _LINE_END.finditer(self.text)}
        borders = sorted({0, len(self.text)} | ends)
        spans = [span for start, end in pairwise(borders) for span in _chopped(self.text, start, end)]
        return spans or [(0, 0)]

    @cached_property
    def places(self) -> dict[str, list[int]]:
        """Where each word stands, as numbers of sentences."""
        starts = [start for start, _ in self.sentences]
        places: dict[str, list[int]] = {}
        for start, token in _tokens(self.text):
            if key := _key(token):
                places.setdefault(key, []).append(bisect_right(starts, start) - 1)
        return places

    @cached_property
    def _by_prefix(self) -> dict[str, list[str]]:
        """Words by their first three letters: only those are compared."""
        prefixes: dict[str, list[str]] = {}
        for key in self.places:
            prefixes.setdefault(key[:3], []).append(key)
        return prefixes

    def where(self, word: _Word) -> list[int]:
        """The sentences that hold a word or an inflection of it; a number only as it is."""
        key, places = word.key, self.places
        found = list(places.get(key, ()))
        if word.number or not key.isalpha() or len(key) < 4:
            return found
        if word.name:  # exactly, but for its plural
            return found + places.get(f"{key}s", []) + (places.get(key[:-1], []) if key.endswith("s") else [])
        for other in self._by_prefix.get(key[:3], ()):
            if other != key and _alike(key, other):
                found += places[other]
        return found


def _chopped(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The span in pieces of at most _SENTENCE characters, cut after a line, else after a word."""
    while end - start > _SENTENCE:
        window = text[start : start + _SENTENCE]
        cut = max(window.rfind("\n"), 0) + 1
        if cut < _SENTENCE // 4:
            cut = max((match.end() for match in re.finditer(r"\s+", window)), default=_SENTENCE)
        yield start, start + cut
        start += cut
    if start < end:
        yield start, end


# ---- facts ------------------------------------------------------------------------------------------------------

_BULLET = re.compile(r"[\s>|]*(?:(?:[-*•‣·–—+]|#{1,6}|\(?[a-z]\)|\d{1,3}[.)])\s+(?=\S))*[\s*_`|]*")
_CLAUSE = re.compile(r"\s*[,;:()]\s+|\s+[(–—-]\s*|\)|\s+(?:and|und|et|y|e)\s+|[，、；：]")


@dataclass(frozen=True, slots=True)
class _Fact:
    """A sentence, line or list item of the final memory; or a clause of one, when `whole` is the rest."""

    text: str
    words: tuple[_Word, ...]
    whole: tuple[_Word, ...] = ()

    @property
    def clauses(self) -> Iterator[_Fact]:
        """Its parts, for a fact that was gathered from several segments: those with a number, else with a name."""
        numbers = any(word.number for word in self.words)
        parts = [part.strip() for part in _CLAUSE.split(self.text)]
        if len(parts) > 1:
            names = {word.key for word in self.words if (word.number if numbers else word.name)}
            for part in parts:
                words = _words(part)
                alone = len(list(_tokens(part))) == 1  # an item of a list; "one of the Eloi" says too little
                if any(word.key in names for word in words) and (numbers or alone or len(words) > 1):
                    yield _Fact(part, words, self.words)


def _facts(memory: str) -> Iterator[_Fact]:
    """The facts of a memory, each set of words once: a model stuck in a loop writes one for a thousand tokens."""
    seen: set[frozenset[str]] = set()
    for start, end in _Text(memory, lines=True).sentences:
        text = memory[start:end]
        bullet = _BULLET.match(text)
        text = text[bullet.end() if bullet else 0 :].strip().strip("*_`|").strip()
        words = _words(text)
        keys = frozenset(word.key for word in words)
        if keys and keys not in seen and not text.endswith("?"):
            seen.add(keys)
            yield _Fact(text, words)


def _shared(words: Iterable[_Word], text: _Text) -> float:
    """The bits of the words that the text has, too."""
    return sum(word.bits for word in words if text.where(word))


# ---- tracing ----------------------------------------------------------------------------------------------------


class _Past:
    """All that a trace has read and remembered, analysed when it is first looked at."""

    def __init__(self, trace: Trace) -> None:
        self.turns = trace.memories
        self.answer = _Text(trace.answer or "", lines=False)
        self.question = _Text(trace.question, lines=False)
        self.yes_or_no = bool(_YES_OR_NO.match(trace.question))
        self._memories: dict[int, _Text] = {}
        self._segments: dict[int, _Text] = {}

    def memory(self, place: int) -> _Text:
        """What was remembered after the turn at a place; nothing before the first."""
        if place < 0:
            return _Text("", lines=True)
        if place not in self._memories:
            text = self.turns[place].completion.text
            same = place + 1 in self._memories and self._memories[place + 1].text == text
            self._memories[place] = self._memories[place + 1] if same else _Text(text, lines=True)
        return self._memories[place]

    def segment(self, place: int) -> _Text:
        if place not in self._segments:
            segment = self.turns[place].request.segment
            assert segment is not None
            self._segments[place] = _Text(segment.text, lines=False)
        return self._segments[place]

    def origins(self, fact: _Fact, threshold: float) -> list[Citation]:
        """The passage that a fact came from; where that leaves some of it open, those of its clauses, too."""
        place, found = self._origin(fact, threshold)
        citations = [_citation(self.turns[place], fact, found)] if found else []
        if found is None or found.open:
            for clause in fact.clauses:
                place, of_clause = self._origin(clause, threshold)
                if of_clause:
                    citations.append(_citation(self.turns[place], clause, of_clause))
        return citations

    def _origin(self, fact: _Fact, threshold: float) -> tuple[int, _Found | None]:
        """The turn where a fact entered the memory, and the passage there.

        A model may reword a fact beyond recognition and back; so where the latest entrance has no passage for it,
        the one before is tried.
        """
        place, entrances = len(self.turns) - 1, 0
        while place >= 0 and entrances < _RUNS:
            if self._present(fact, place):
                while self._present(fact, place - 1):
                    place -= 1
                if (found := self._passage(fact, place)) and found.score >= threshold:
                    return place, found
                entrances += 1
            place -= 1
        return -1, None

    def _present(self, fact: _Fact, place: int) -> bool:
        """Whether the fact is in the memory after a turn, in these words or others."""
        memory = self.memory(place)
        if len(fact.text) > 20 and fact.text in memory.text:  # a shorter one might be a piece of a word
            return True
        places = [memory.where(word) for word in fact.words]
        total = sum(word.bits for word in fact.words)
        if sum(word.bits for word, where in zip(fact.words, places, strict=True) if where) < _PRESENT * total:
            return False
        numbers = sum(1 << i for i, word in enumerate(fact.words) if word.number)
        bits = _Weights([word.bits for word in fact.words])
        return any(
            mask & numbers == numbers and bits[mask] >= _PRESENT * total for _, _, mask in _windows(memory, places)
        )

    def _passage(self, fact: _Fact, place: int) -> _Found | None:
        """The sentences of a segment that hold most of a fact."""
        text, before, words = self.segment(place), self.memory(place - 1), fact.words
        places = [text.where(word) for word in words]
        asked = [bool(self.question.where(word)) for word in words]
        known = [bool(before.where(word)) for word in words]
        own = sum(1 << i for i in range(len(words)) if not asked[i])
        numbers = sum(1 << i for i, word in enumerate(words) if word.number)
        fresh = sum(1 << i for i, word in enumerate(words) if word.number and not known[i])
        if not own:
            if not self.yes_or_no:
                return None
            asked = [False] * len(words)

        present, absent = _Weights([]), _Weights([])
        for word, where, old, question in zip(words, places, known, asked, strict=True):
            bits = word.bits * (_QUESTION_SHARE if question else 1.0)
            present.bits.append(bits)
            if old if not word.name else where or old:
                bits *= _KNOWN_SHARE
            elif word.name and not question:
                bits *= _UNKNOWN_NAME_SHARE
            absent.bits.append(bits)
        every = (1 << len(words)) - 1
        evidence = _Weights([word.bits if not q or not own else 0.0 for word, q in zip(words, asked, strict=True)])
        context = [set(text.where(word)) for word in self._context(fact)]

        best: tuple[float, _Found] | None = None
        for start, end, mask in _windows(text, places):
            if mask & fresh != fresh or (numbers and not mask & numbers):
                continue
            if (mask & own).bit_count() < min(2, own.bit_count()) if own else mask != every:
                continue
            held = present[mask]
            score = held / (held + absent[every & ~mask]) * 0.95 ** (end - start - 1)
            if best and score + 0.1 < best[0]:
                continue
            around = sum(1 for places_of in context if any(start <= i < end for i in places_of))
            if evidence[mask] + _CONTEXT_BITS * around < _ENOUGH_BITS:
                continue
            chars = text.sentences[start][0], text.sentences[end - 1][1]
            # Of passages about as good, the one that reads like the fact, and that speaks of what was asked.
            rank = score + 0.05 * fuzz.token_sort_ratio(fact.text, text.text[slice(*chars)]) / 100
            rank += 0.05 * around / max(1, len(context))
            if best is None or rank > best[0]:
                names = sum(1 << i for i, word in enumerate(words) if word.number or (word.name and not asked[i]))
                best = rank, _Found(*chars, score, open=bool(names & ~mask))
        return best[1] if best else None

    def _context(self, fact: _Fact) -> tuple[_Word, ...]:
        """Words that show that a passage speaks of the matter, though they are not the fact's own."""
        keys = {word.key for word in fact.words if not self.question.where(word)}
        around = {word.key: word for word in (*self._question_words, *fact.whole) if word.key not in keys}
        return tuple(around.values())

    @cached_property
    def _question_words(self) -> tuple[_Word, ...]:
        return _words(self.question.text)


@dataclass(frozen=True, slots=True)
class _Found:
    """A passage in a segment's text. `open`: a name or a number of the fact is not in it."""

    start: int
    end: int
    score: float
    open: bool


def _citation(turn: Turn, fact: _Fact, found: _Found) -> Citation:
    segment = turn.request.segment
    assert segment is not None
    quote = segment.text[found.start : found.end]
    start = segment.start + found.start + len(quote) - len(quote.lstrip())
    quote = quote.strip()
    return Citation(start, start + len(quote), quote, turn.index, min(1.0, found.score), fact.text)


class _Weights(dict[int, float]):
    """The bits of each set of words, a set being a bit mask; summed once a set."""

    def __init__(self, bits: list[float]) -> None:
        super().__init__()
        self.bits = bits

    def __missing__(self, mask: int) -> float:
        self[mask] = total = sum(bits for i, bits in enumerate(self.bits) if mask >> i & 1)
        return total


def _windows(text: _Text, places: list[list[int]]) -> Iterator[tuple[int, int, int]]:
    """Each one to three sentences that begin and end with a word found, and the set of words found in them."""
    masks: dict[int, int] = {}
    for word, where in enumerate(places):
        for sentence in where:
            masks[sentence] = masks.get(sentence, 0) | 1 << word
    for start, mask in masks.items():
        yield start, start + 1, mask
        for end in (start + 2, start + 3):
            mask |= masks.get(end - 1, 0)
            if end - 1 in masks and text.sentences[end - 1][1] - text.sentences[start][0] <= _PASSAGE:
                yield start, end, mask
