"""Words as citations compare them, and the texts in which they are looked up."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

from rapidfuzz.distance import JaroWinkler, LCSseq

from memagent.core.quoting import INVISIBLE
from memagent.core.text import CJK_SENTENCE_END, MARKED_SENTENCE_END, UNSPACED

_WORD_BITS, _NAME_BITS, _DIGIT_BITS = 6.0, 10.0, 3.4
_LONGEST = 400  # characters after which a sentence is cut, because a text may have no full stops

# In scripts without spaces between words, pairs of characters count as words.
_TOKEN = re.compile(
    rf"\d{{1,3}}(?:[, ]\d{{3}})+(?:\.\d+)?(?!\d)|\d+(?:\.\d+)+|[^\W_{UNSPACED}]+(?:-\n[^\W_{UNSPACED}]+)*"
    rf"|[{UNSPACED}](?=([{UNSPACED}]))|(?<![{UNSPACED}])[{UNSPACED}]"
)
_SENTENCE_END = re.compile(
    rf"(?<!\b(?:Mr|Ms|Dr|St|No|vs))(?<!\bMrs)(?<!\b[A-Z]){MARKED_SENTENCE_END}\s+(?![a-z])"
    rf"|{CJK_SENTENCE_END}\s*|\n\s*\n\s*|\n(?=\s*(?:[-*•+#|]|\d{{1,3}}[.)])\s)"
)
_NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen twenty"
)
_DIGITS = {word: str(number) for number, word in enumerate(_NUMBERS.split())}
_SAY_NOTHING = frozenset(
    (
        # common English words
        "a about after again all also although am an and any are as at be because been before being between both but "
        "by can cannot could did do does doing during each either for from further had has have having he her here "
        "hers herself him himself his how however i if in into is it its itself just let may me might mine more most "
        "must my myself no nor not now of off on once one only or other our ours out over own per same shall she "
        "should since so some such than that the their theirs them themselves then there these they this those though "
        "through thus to too under until up upon us very was we were what when where whether which while who whom "
        "whose why will with within without would yes yet you your yours true false none unknown "
        # words that a memory uses about itself
        "according additional answer answers article based boxed contain contains context describe described "
        "describes detail details fact facts found include includes including indicate indicates info information key "
        "known mention mentioned mentions memory new note notes passage previous problem prompt provided question "
        "refers relevant section segment specific stated states summary text therefore update updated"
    ).split()
)


@dataclass(frozen=True, slots=True, eq=False)
class Word:
    """A word that carries information: `bits` says how much."""

    key: str
    bits: float
    number: bool
    name: bool
    """Whether the word has a capital where a sentence does not require one."""


def words(text: str) -> tuple[Word, ...]:
    """Return the words of a fact, each once."""
    text = _plain(text)
    value = text.find(": ") + 1  # in "Birth Place: York", the label's capitals mean nothing
    found: dict[str, Word] = {}
    for start, token in _tokens(text):
        if key := _key(token):
            number, capital = any(map(str.isdigit, token)), token[0].isupper()
            bits = min(len(key), 6) * _DIGIT_BITS if number else _NAME_BITS if capital else _WORD_BITS
            inside = bool(text[value:start].strip(" \n\"'“‘«([*_"))
            found.setdefault(key, Word(key, bits, number, capital and inside and not number))
    return tuple(found.values())


class Text:
    """A text to search, indexed when it is first asked for a word."""

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def sentences(self) -> list[tuple[int, int]]:
        return list(sentences(self.text))

    def where(self, word: Word) -> list[int]:
        """Return the numbers of the sentences with a word or its inflections. Numbers and names must match exactly."""
        found = list(self._places.get(word.key, ()))
        if not word.number and not word.name and len(word.key) > 3:
            for other in self._by_prefix.get(word.key[:3], ()):
                if other != word.key and _alike(word.key, other):
                    found += self._places[other]
        return found

    def windows(self, words: Iterable[Word]) -> Iterator[tuple[int, int, frozenset[Word]]]:
        """Yield first and last of one to three sentences, both with one of the words, and the words found in them."""
        held: dict[int, frozenset[Word]] = {}
        for word in words:
            for place in self.where(word):
                held[place] = held.get(place, frozenset()) | {word}
        for first, found in held.items():
            for last in range(first, first + 3):
                if last in held:
                    found |= held[last]
                    yield first, last, found

    @cached_property
    def _places(self) -> dict[str, list[int]]:
        places: dict[str, list[int]] = defaultdict(list)
        for number, (start, end) in enumerate(self.sentences):
            for _, token in _tokens(_plain(self.text[start:end])):
                # "In chapter 3 100 men" may be 3 and 100, or 3100.
                for each in (token, *token.split()) if " " in token else (token,):
                    if key := _key(each):
                        places[key].append(number)
        return places

    @cached_property
    def _by_prefix(self) -> dict[str, list[str]]:
        """Words by their first three letters: comparing only words that share them is fast."""
        prefixes: dict[str, list[str]] = defaultdict(list)
        for key in self._places:
            prefixes[key[:3]].append(key)
        return prefixes


def sentences(text: str) -> Iterator[tuple[int, int]]:
    """Yield start and end of each sentence or list item, without gaps in between."""
    start = 0
    for end in (*(match.end() for match in _SENTENCE_END.finditer(text)), len(text)):
        while end - start > _LONGEST:
            line, word = (text.rfind(mark, start, start + _LONGEST) + 1 for mark in "\n ")
            cut = line or word or start + _LONGEST
            yield start, cut
            start = cut
        if start < end:
            yield start, end
            start = end


def _plain(text: str) -> str:
    """Return the text in NFKC (in which a no-break space is a space), without invisible characters."""
    return text if text.isascii() else INVISIBLE.sub("", unicodedata.normalize("NFKC", text))


def _tokens(text: str) -> Iterator[tuple[int, str]]:
    return ((match.start(), match[0] + (match[1] or "")) for match in _TOKEN.finditer(text))


def in_order(fact: str, passage: str) -> float:
    """Return the share of a fact's words, common ones included, that a passage holds in the fact's order."""
    asked, there = ([_folded(token) for _, token in _tokens(_plain(text))] for text in (fact, passage))
    return LCSseq.similarity(asked, there) / len(asked) if asked else 0.0


def _folded(token: str) -> str:
    """Return the token without case, accents, line breaks and thousands separators."""
    if not token.isascii():
        token = "".join(c for c in unicodedata.normalize("NFKD", token) if not unicodedata.combining(c))
    return token.casefold().replace("-\n", "").replace(",", "").replace(" ", "")


@lru_cache(maxsize=1 << 16)
def _key(token: str) -> str:
    """Return the folded token; "" if it carries no information."""
    key = _folded(token)
    if key in _SAY_NOTHING or (len(key) == 1 and key.isascii() and not key.isdigit()):
        return ""  # even "one", which is more often a pronoun than a number
    return _DIGITS.get(key, key)


@lru_cache(maxsize=1 << 16)
def _alike(a: str, b: str) -> bool:
    return JaroWinkler.similarity(a, b) >= 0.9
