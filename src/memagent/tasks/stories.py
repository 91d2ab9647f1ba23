"""Questions on stories (FairytaleQA), with several stories in a document.

What did the miscaun turn into?  ->  a grey stone

A document holds consecutive sections of one story, placed between other stories; its questions are about that
one story. Some questions are about sections that were left out: the document has the same heroes but no answer.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from memagent.core.records import Segment
from memagent.core.scoring import find_words, normalised
from memagent.core.text import SENTENCE_END
from memagent.core.tokenizer import Tokenizer, count
from memagent.tasks.data import Story, StoryQuestion, load_stories
from memagent.tasks.example import Example, Fact, Length, Unit, facts_read, generator
from memagent.tasks.fitting import TooShort, fit, sample_tokens
from memagent.tasks.paragraphs import permutation
from memagent.tasks.practice.mixture import ABSENT

_BREAK = "\n\n"
_SENTENCE_END = re.compile(rf"{SENTENCE_END}\s+")
_HELD = 0.75  # smallest share of an answer's words in the sentences that are taken to hold it
_SHARE = 0.7  # largest share of a document that the story asked about may have
_FEW = frozenset(
    "a an and the of to in on at he she it they his her him their them was were is that with for by".split()
)


@dataclass(frozen=True, slots=True)
class Told:
    """A question on a section of a story: the sentences that hold the answer, and their place in the section."""

    question: StoryQuestion
    section: int
    start: int
    text: str
    key: str


@dataclass(frozen=True, slots=True)
class StoryTask:
    """Explicit questions on stories, `together` on each document.

    Args:
        absent: share of the questions that the document does not answer, where something can be left out.
    """

    name: str
    stories: Sequence[Story]
    together: int = 8
    absent: float = 0.0
    metrics: tuple[str, ...] = ("f1", "sub_em")
    answer_tokens: int = 64
    placed: bool = True
    size: None = None
    units: tuple[Unit, ...] = ("tokens",)
    _told: dict[int, list[Told]] = field(default_factory=dict, compare=False, repr=False)

    def example(self, length: Length, number: int, seed: int, tokenizer: Tokenizer) -> Example:
        """Return an example. With the longest question on its document, it has the length asked for."""
        sheet, which = divmod(number, self.together)
        draw = generator(self.name, length, sheet, seed)
        order = permutation(self.name, len(self.stories), seed)
        for skipped in range(len(order)):  # the next story replaces one that is too short for its questions
            with suppress(TooShort):
                return self._drawn(order[(sheet + skipped) % len(order)], which, draw, length, tokenizer)
        raise TooShort(f"{self.name} cannot be {length} long: give a larger length.")

    def memories(self, example: Example, segments: Iterable[Segment]) -> Iterator[str]:
        return facts_read(example, segments)

    def _drawn(self, lead: int, which: int, draw: random.Random, length: Length, tokenizer: Tokenizer) -> Example:
        story = self.stories[lead]
        first, last = self._run(story, draw, length, tokenizer)
        main, starts = _joined(story.sections[first:last])
        asked = self._asked(lead, first, last, main, draw)
        others = [self.stories[other] for other in permutation(self.name, len(self.stories), draw.randrange(1 << 30))]
        around = _BREAK.join(text for other in others[:40] if other is not story for text in other.sections)
        before_share = draw.random()
        longest = max((each.question.question for each, _ in asked), key=len)

        def build(pieces: int) -> Example:
            before = int(pieces * before_share)
            head, tail = _ending(around, before), _beginning(around[before:], pieces - before)
            document = (head + _BREAK if head else "") + main + (_BREAK + tail if tail else "")
            return Example(document, longest, (), (), f"{{context}}\n\n{longest}", 0)

        whole = fit(build, length, sample_tokens(tokenizer, self.answer_tokens), 50)
        told, present = asked[which]
        question = told.question.question
        facts: tuple[Fact, ...] = ()
        if present:
            start = whole.document.index(main) + starts[told.section - first] + told.start
            facts = (Fact(" ".join(told.text.split()), told.key, start, start + len(told.text)),)
        answers = told.question.answers if present else (ABSENT,)
        return replace(
            whole,
            question=question,
            query=question,
            answers=answers,
            facts=facts,
            template=f"{{context}}\n\n{question}",
        )

    def _run(self, story: Story, draw: random.Random, length: Length, tokenizer: Tokenizer) -> tuple[int, int]:
        """Return which sections of the story the document has: as many as its share of the length allows."""
        tokens = [count(tokenizer, section) for section in story.sections]
        room = int(length.value * _SHARE) - 200
        if sum(tokens) <= room and not self.absent:
            return 0, len(tokens)
        most = len(tokens) - 1 if self.absent else len(tokens)  # leave out at least one section to ask about
        first = draw.randrange(len(tokens))
        last = first
        while last < len(tokens) and last - first < most and sum(tokens[first : last + 1]) <= room:
            last += 1
        while first > 0 and last - first < most and sum(tokens[first - 1 : last]) <= room:
            first -= 1
        if last == first:
            raise TooShort("No section of the story fits.")
        return first, last

    def _asked(self, lead: int, first: int, last: int, main: str, draw: random.Random) -> list[tuple[Told, bool]]:
        """Return the questions of a document, each with whether the document answers it."""
        told = self._told.get(lead)
        if told is None:
            told = self._told[lead] = list(_told(self.stories[lead]))
        here = [each for each in told if first <= each.section < last]
        gone = [
            each
            for each in told
            if each not in here and not any(find_words(main, answer) for answer in each.question.answers)
        ]
        draw.shuffle(here)
        draw.shuffle(gone)
        missing = min(sum(draw.random() < self.absent for _ in range(self.together)), len(gone))
        if len(here) + missing < self.together:
            raise TooShort("The story has too few questions.")
        asked = [(each, True) for each in here[: self.together - missing]] + [(each, False) for each in gone[:missing]]
        draw.shuffle(asked)
        return asked


def practice_stories(stories: str | Path) -> StoryTask:
    """Return the practice task: a quarter of the questions are about sections that were left out."""
    return StoryTask("practice_stories", load_stories(stories), 16, absent=0.25)


def fairytale(stories: str | Path) -> StoryTask:
    """Return the evaluation task: the document holds every answer, and token F1 is the score."""
    return StoryTask("fairytale", load_stories(stories))


def _told(story: Story) -> Iterator[Told]:
    """Yield a story's explicit questions for which the sentences that hold the answer were found."""
    for question in story.questions:
        found = [
            (score, section, start, text)
            for section in (question.sections if question.explicit else ())
            for score, start, text in _holding(story.sections[section], question)
        ]
        if found:
            _, section, start, text = max(found, key=lambda each: each[0])
            whole = [answer for answer in question.answers if find_words(text, answer)]
            shared = _words(" ".join(question.answers)) & _words(text)
            key = min(whole, key=len) if whole else max(sorted(shared), key=len)
            yield Told(question, section, start, text, key)


def _holding(section: str, question: StoryQuestion) -> Iterator[tuple[float, int, str]]:
    """Yield score, place and text of sentences, one or two in a row, that have most of an answer's words.

    Words of the question raise the score.
    """
    ends = [0, *(match.end() for match in _SENTENCE_END.finditer(section)), len(section)]
    wanted = _words(question.question)
    for answer in map(_words, question.answers):
        for many in (1, 2):
            for first in range(len(ends) - many):
                raw = section[ends[first] : ends[first + many]]
                text = raw.strip()
                words = _words(text)
                share = len(answer & words) / len(answer) if answer else 0.0
                if share >= _HELD and len(text) <= 500:
                    start = ends[first] + raw.index(text)
                    yield 2 * share + len(wanted & words) / max(len(wanted), 1) - 0.4 * many, start, text


def _words(text: str) -> set[str]:
    return set(normalised(text).split()) - _FEW


def _joined(sections: Sequence[str]) -> tuple[str, list[int]]:
    """Return the sections as one text, and the offset of each."""
    starts, length = [], 0
    for section in sections:
        starts.append(length)
        length += len(section) + len(_BREAK)
    return _BREAK.join(sections), starts


def _beginning(text: str, characters: int) -> str:
    """Return about the first `characters` characters, up to the end of a word."""
    if characters >= len(text):
        raise TooShort("There are too few stories for this length.")
    return text[: max(text.rfind(" ", 0, characters + 1), 0)].rstrip()


def _ending(text: str, characters: int) -> str:
    """Return the text up to `characters`, starting at the beginning of a word."""
    start = text.find(" ", 0, 200)
    return text[start + 1 : max(characters, start + 1)].strip() if characters > start + 1 else ""
