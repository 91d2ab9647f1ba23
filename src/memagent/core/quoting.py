"""Find a quote in a segment of the document, and return it in the document's own spelling.

A model that copies a line makes changes that a reader would not notice: it drops a soft hyphen, straightens a curly
quotation mark, puts a comma into a number. So both sides are normalised before they are compared. A line that is nearly
a quote is replaced by the closest sentence of the segment.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator
from functools import cached_property

from rapidfuzz import process
from rapidfuzz.distance import Indel

from memagent.core.text import CJK_CLOSING, CJK_SENTENCE_END, MARKED_SENTENCE_END

NEAR = 0.9
"""Least similarity (Indel, 0 to 1) at which a sentence replaces a line that was copied with a slip.

A uuid with four of its 36 characters wrong stays above it, and so does a RULER needle that lacks one of its words. Two
needles that differ in key and value score 0.8 or less.
"""

_NEAR_NUMBER = 0.7
"""Least similarity of each number in the line: 123 may be a slip for 12345, but 7 is not a slip for 47."""

_BULLET = re.compile(r"^(?:[-*•]|\d{1,2}[.)])\s+")
_MARKS = {"“": "”", '"': '"', "«": "»", "„": "“"}
_SENTENCE_END = re.compile(rf"{MARKED_SENTENCE_END}\s+|{CJK_SENTENCE_END}{CJK_CLOSING}|\n+")
_END = re.compile(
    r"(?<!\b[A-Z])(?<!\bMr)(?<!\bMs)(?<!\bDr)(?<!\bSt)(?<!\bNo)(?<!\bMrs)[.!?…][\"'”’»)\]*_]*\s+|[。！？][」』”’）]*|\n\s*+(?![a-z])"
)
_LEAST_WIDTH, _MOST_WIDTH = 40, 120  # length in characters of the longest line in a wrapped text
_PARAGRAPH = re.compile(r"\n[^\S\n]*\n\s*|\f\s*")
_NO_HEADING = re.compile(r"""=|[.!?:;,]["”)]*$""")
_LONGEST_HEADING = 80  # characters
_MOST_SENTENCES = 3  # in a line that is mended

# Differences that do not matter. Characters that a group matches are left out of the normal form.
_LEFT_OUT = re.compile(
    r"(?:(?<=[^\W\d_])([\u2010\u2011-]\s*)(?=[^\W\d_]))"  # hyphens inside words, also at a line end
    r"|(?<=\d)([,\u00a0\u202f\u2009 ])(?=\d{3}(?!\d))"  # thousands separators
    r"|(\*+)(?=\S)|(?<=\S)(\*+)|(?<!\w)(_+)(?=\w)|(?<=\w)(_+)(?!\w)"  # emphasis in Markdown and plain-text books
)
INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u0640\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\ufff9-\ufffb]"
)
"""Invisible characters (soft hyphens, joiners, direction marks, variation selectors), and the tatweel."""
_FOLDED = str.maketrans(
    {**dict.fromkeys("“”„‟«»″", '"'), **dict.fromkeys("‘’‚‛‹›′", "'"), **dict.fromkeys("‐‑‒–—―−", "-")}
)


def bare(line: str) -> str:
    """Return the squeezed line without the bullet, number and quotation marks that a model puts around it."""
    while True:
        stripped = squeezed(_BULLET.sub("", line.lstrip(), count=1))
        if len(stripped) > 1 and _MARKS.get(stripped[0]) == stripped[-1]:
            stripped = stripped[1:-1].strip()
        if stripped == line:
            return line
        line = stripped


def squeezed(text: str) -> str:
    """Return the text with each run of white space as one space."""
    return " ".join(text.split())


class Section:
    """A segment of the document, in which quotes are looked up."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._plain, self._starts = _normal(text)

    def find(self, line: str) -> tuple[int, str] | None:
        """Return the place of a quote and the document's own spelling of it, squeezed; None if it is not there.

        The line may start with the heading of its paragraph, as in "Louvre: It was built in 1190."
        """
        for candidate in dict.fromkeys((squeezed(line), bare(line))):
            if candidate and (found := self._exact(candidate) or self._headed(candidate)):
                return found
        return None

    def sentence(self, line: str, question: str) -> tuple[int, str] | None:
        """Return place and text of the sentence around a quote, with the heading of its paragraph; None if not found.

        If the quote is in several sentences, the one that shares most words with the question is chosen.
        """
        plain = _normal(bare(line))[0]
        asked = _words(question)
        best: tuple[int, int, int] | None = None
        for start, end in self._every(plain) if plain else ():
            first, last = self._starts[start], self._starts[end - 1]
            span = (self._around(first)[0], self._around(last)[1])
            shared = len(asked & _words(self.text[slice(*span)]))
            if best is None or shared > best[0]:
                best = (shared, *span)
        if best is None:
            return self.find(line) or self.nearest(line)
        _, start, end = best
        heading = self._heading(start)
        text = squeezed(self.text[start:end])
        return start, f"{heading}: {text}" if heading else text

    def nearest(self, line: str) -> tuple[int, str] | None:
        """Return place and text of the sentences that a line was meant to copy; None if none are `NEAR` enough."""
        plain = _normal(bare(line))[0]
        if not plain or not self._sentences:
            return None
        spans = list(self._sentences)
        scored = process.extract(
            plain, [text for _, _, text in spans], scorer=Indel.normalized_similarity, score_cutoff=NEAR
        )
        for text, _, which in scored:
            if _same_numbers(plain, text):
                start, end, _ = spans[which]
                return start, squeezed(self.text[start:end])
        return None

    @cached_property
    def _sentences(self) -> list[tuple[int, int, str]]:
        """Start, end and normal form of every run of one to `_MOST_SENTENCES` sentences."""
        ends = [match.end() for match in _SENTENCE_END.finditer(self.text)]
        starts = [0, *ends]
        ends = [*ends, len(self.text)]
        found = []
        for first in range(len(starts)):
            for last in range(first, min(first + _MOST_SENTENCES, len(ends))):
                text = self.text[starts[first] : ends[last]]
                if text.strip():
                    found.append((starts[first], ends[last], _normal(text)[0]))
        return found

    def _every(self, plain: str) -> Iterator[tuple[int, int]]:
        """Yield start and end of each occurrence of a line in the segment, all in normal form."""
        found = _whole(plain, self._plain, 0, len(self._plain))
        while found:
            yield found
            found = _whole(plain, self._plain, found[1], len(self._plain))

    def _around(self, place: int) -> tuple[int, int]:
        """Return start and end of the sentence around a place in the text."""
        number = bisect_right(self._ends, place)
        end = self._ends[number] if number < len(self._ends) else len(self.text)
        return (self._ends[number - 1] if number else 0), end

    @cached_property
    def _ends(self) -> list[int]:
        """Ends of the sentences. The break after a full line does not end a sentence."""
        found = []
        for match in _END.finditer(self.text):
            full = match[0].isspace() and "\n" in match[0] and not re.search(r"\n\s*\n", match[0])
            if not (full and self._is_wrapped(match.start(), match.end())):
                found.append(match.end())
        return found

    def _is_wrapped(self, end: int, start: int) -> bool:
        """Return whether a line was broken because it was full: the next word would make it the longest around."""
        begin = self.text.rfind("\n", 0, end) + 1
        word = re.compile(r"\S*").match(self.text, start)
        paragraph = self.text[max(0, begin - 400) : start + 400].split("\n\n")
        longest = max(len(line) for part in paragraph for line in part.split("\n")[1:-1] or [""])
        return _LEAST_WIDTH <= longest <= _MOST_WIDTH and end - begin + len(word[0] if word else "") >= longest

    def _heading(self, start: int) -> str:
        """Return the title of a sentence's paragraph: the last of at most two short lines at the paragraph's start."""
        place = max((match.end() for match in _PARAGRAPH.finditer(self.text, 0, start)), default=0)
        title = ""
        for _ in range(2):
            end = self._around(place)[1]
            line = self.text[place:end].strip()
            if end > start or len(line) > _LONGEST_HEADING or _NO_HEADING.search(line):
                place = end
                continue
            title, place = line, end
        return squeezed(title)

    def _exact(self, line: str) -> tuple[int, str] | None:
        plain, _ = _normal(line)
        return self._spelled(_whole(plain, self._plain, 0, len(self._plain))) if plain else None

    def _headed(self, line: str) -> tuple[int, str] | None:
        """Find a line "heading: quote", with the quote in a paragraph that has the heading in its first two lines."""
        for colon in re.finditer(": ", line):
            heading, quote = _normal(line[: colon.start()])[0], _normal(line[colon.end() :])[0]
            for heads, start, end in self._paragraphs if heading and quote else ():
                if heading in heads and (found := self._spelled(_whole(quote, self._plain, start, end))):
                    return found[0], f"{squeezed(line[: colon.start()])}: {found[1]}"
        return None

    @cached_property
    def _paragraphs(self) -> list[tuple[tuple[str, ...], int, int]]:
        """Normal form of each paragraph's first two lines, each with start and end of the text after it in `_plain`."""
        found: list[tuple[tuple[str, ...], int, int]] = []
        for paragraph in re.finditer(r"(?:(?!\n[^\S\n]*\n|\f).)+", self.text, re.DOTALL):
            lines = [line for line in re.finditer(r"[^\n]+", paragraph[0]) if line[0].strip()]
            for heading in lines[:2]:
                after = self._at(paragraph.start() + heading.end())
                found.append(((_normal(heading[0])[0],), after, self._at(paragraph.end())))
        return found

    def _at(self, place: int) -> int:
        """Return the first place in the normal form that comes from the text at or after `place`."""
        low, high = 0, len(self._starts)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if self._starts[middle] < place else (low, middle)
        return low

    def _spelled(self, span: tuple[int, int] | None) -> tuple[int, str] | None:
        if span is None:
            return None
        start = self._starts[span[0]]
        end = self._starts[span[1]] if span[1] < len(self._starts) else len(self.text)
        return start, squeezed(self.text[start:end])


def _whole(line: str, text: str, start: int, end: int) -> tuple[int, int] | None:
    """Return start and end of the line in the text, but not inside a longer word, number or date.

    In scripts without capitals (category Lo: Chinese, Arabic …), it may be inside a word, because many of these scripts
    have no spaces.
    """
    first, last = line[0], line[-1]
    left = r"(?<!\w)" * _is_spaced(first) + r"(?<!\d[.,:/-])(?<![\s(]-)(?<!^-)" * first.isdigit()
    right = r"(?!\w)" * _is_spaced(last) + r"(?![.,:/-]\d)" * last.isdigit()
    found = re.compile(left + re.escape(line) + right).search(text, start, end)
    return found.span() if found else None


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w{3,}", text.lower()))


def _same_numbers(line: str, text: str) -> bool:
    """Return whether each number in the line (a word with a digit) may be a slip for a number in the text."""
    numbers = [[word for word in each.split() if any(map(str.isdigit, word))] for each in (line, text)]
    return all(process.extractOne(number, numbers[1], scorer=Indel.normalized_similarity, score_cutoff=_NEAR_NUMBER)
               for number in numbers[0])  # fmt: skip


def _is_spaced(char: str) -> bool:
    """Return whether the character belongs to a word in a script with spaces between words."""
    return re.match(r"\w", char) is not None and unicodedata.category(char) != "Lo"


def _normal(text: str) -> tuple[str, list[int]]:
    """Return the normal form of a text, and for each of its characters, the place in the text that it comes from."""
    kept: list[str] = []
    starts: list[int] = []
    skipped = {place for match in _LEFT_OUT.finditer(text) for place in range(*match.span(match.lastindex or 0))}
    for place, cluster in _clusters(text):
        if place in skipped:
            continue
        for char in unicodedata.normalize("NFKC", cluster).translate(_FOLDED):
            if char.isspace():
                char = " "
            if char in " -" and kept and kept[-1] == char:
                continue
            kept.append(char)
            starts.append(place)
    while kept and kept[-1] == " ":
        kept.pop(), starts.pop()
    while kept and kept[0] == " ":
        kept.pop(0), starts.pop(0)
    return "".join(kept), starts


def _clusters(text: str) -> Iterator[tuple[int, str]]:
    """Yield the place of each character, and the character with its combining marks. Skips invisible characters."""
    place, cluster = 0, ""
    for at, char in enumerate(text):
        category = unicodedata.category(char)
        if category == "Cf" or INVISIBLE.match(char):
            continue
        if category[0] == "M" and cluster:
            cluster += char
            continue
        if cluster:
            yield place, cluster
        place, cluster = at, char
    if cluster:
        yield place, cluster
