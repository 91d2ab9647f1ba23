"""Replies of a perfect reader, and slips of a careless one: the lessons of the supervised warm start."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from memagent.core.prompts import NO_CHANGE, NONE, NOTHING
from memagent.core.quoting import Section, squeezed
from memagent.core.records import Request, Segment
from memagent.core.text import SENTENCE_END
from memagent.readers.quotes import quotes_of
from memagent.tasks.practice.mixture import ABSENT

_SENTENCE_END = re.compile(rf"{SENTENCE_END}\s+|\n+")
_PART = 20  # characters: a longer part of a sentence counts as the sentence
_LONGEST = 300  # characters: longer sentences are never collected by mistake


@dataclass(frozen=True, slots=True)
class Overwriter:
    """A perfect reader that writes the whole memory again after each segment.

    Args:
        pieces: the segments of the document.
        memories: the ideal memory after each segment.
        right: the right answer.
        boxed: whether the reply puts the answer in a box.
    """

    pieces: Sequence[Segment]
    memories: Sequence[str]
    right: str
    boxed: bool
    question: str = ""
    keys: Mapping[str, str] = field(default_factory=dict)
    """For each fact, as the memories note it, the words that every memory of the fact must contain."""
    mark: ClassVar[str] = ""
    """Mark before each line of a reply."""

    def reply(self, request: Request) -> str:
        if request.kind == "answer":
            return self.answer(self.right)
        return self.memories[self._number(request)]

    def answer(self, text: str) -> str:
        # With a space, as in the memory, so that tokenizers that join spaces to words give the same tokens.
        return f"\\boxed{{ {text}}}" if self.boxed else text

    def _number(self, request: Request) -> int:
        assert request.segment is not None
        end = request.segment.end
        return next(number for number, piece in enumerate(self.pieces) if piece.end >= end)


@dataclass(frozen=True, slots=True)
class Collector(Overwriter):
    """A perfect reader that collects quotes: it copies new quotes or replies NONE, and chooses the helpful ones."""

    mark: ClassVar[str] = "- "

    def reply(self, request: Request) -> str:
        held = quotes_of(request.memory or NOTHING)
        if request.kind == "try":
            complete = all(is_held(line, held) for line in self.wanted)
            return self.answer(self.right if complete else ABSENT)
        if request.kind == "answer":
            lost = bool(self.wanted) and not any(is_held(line, held) for line in self.wanted)
            return self.answer(ABSENT if lost else self.right)
        if request.kind == "choose":
            return ", ".join(str(number) for number, quote in enumerate(held, 1) if self._helps(quote)) or NONE
        assert request.segment is not None
        number = self._number(request)
        before = self.memories[number - 1].splitlines() if number else []
        section = Section(request.segment.text)
        lines = [line for line in quotes_of(self.memories[number]) if line not in before]
        found = [self._quote(line, section) for line in lines if not is_held(line, held)]
        return "\n".join(f"{self.mark}{quote}" for quote in found if quote) or NONE

    def _quote(self, line: str, section: Section) -> str:
        """Return the fewest words that stand for a fact: its key if that finds the fact's sentence, else the quote."""
        whole = section.find(line)
        if whole is None:
            return ""
        key = self.keys.get(line, "")
        found = section.sentence(key, self.question) if key else None
        return key if found and is_held(line, [found[1]]) else whole[1]

    def _helps(self, quote: str) -> bool:
        return any(is_held(line, [quote]) for line in self.wanted)

    @property
    def wanted(self) -> set[str]:
        """The quotes in the last memory: those that help to answer the question."""
        return {squeezed(line) for line in quotes_of(self.memories[-1])} if self.memories else set()


def slipping(perfect: Overwriter, question: str, share: float, draw: random.Random) -> Callable[[Request, str], str]:
    """Return a careless reader. In this share of the segments, it also collects a sentence that only looks helpful."""
    asked = _words(question)

    def slip(request: Request, ideal: str) -> str:
        if request.kind != "memorize" or request.segment is None or draw.random() >= share:
            return ideal
        helpful = {squeezed(line) for memory in perfect.memories for line in memory.splitlines()}
        sentences = [squeezed(text) for text in _SENTENCE_END.split(request.segment.text)[1:-1]]
        sentences = [text for text in sentences if 20 < len(text) < _LONGEST and not _within(text, helpful)]
        if not sentences:
            return ideal
        near = max(sentences, key=lambda text: (len(asked & _words(text)), draw.random()))
        more = f"{perfect.mark}{near}"
        before = "\n".join(quotes_of(request.memory)) if ideal == NO_CHANGE else "" if ideal == NONE else ideal
        return f"{before}\n{more}".strip()

    return slip


def is_held(fact: str, quotes: Collection[str]) -> bool:
    """Return whether a quote equals, contains or is part of a fact's sentence, with or without its heading."""
    bare = squeezed(fact).split(": ", 1)[-1]
    return any(bare in quote or (len(quote) > _PART and quote.split(": ", 1)[-1] in bare) for quote in quotes)


def _within(text: str, lines: set[str]) -> bool:
    return any(text in line or line in text for line in lines)


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w{4,}", text.lower()))
