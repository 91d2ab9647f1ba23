"""Practice questions over paragraphs. Several questions share a document, which leaves some of them unanswered.

Like `practice`, for SQuAD and HotpotQA. A document holds the paragraphs that its questions rest on, except for the
questions it must not answer. Its distractors are related paragraphs without their answers first, then any others.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path

from memagent.core.records import Segment
from memagent.core.scoring import find_words
from memagent.core.tokenizer import Tokenizer
from memagent.tasks.data import load_unanswerable
from memagent.tasks.example import Example, Length, Unit, generator
from memagent.tasks.fitting import TooShort
from memagent.tasks.paragraphs import Asked, ParagraphTask, permutation
from memagent.tasks.practice.mixture import ABSENT
from memagent.tasks.questions import hqa, qa_1

_MOST = 400  # most characters of facts that a question may rest on, because a small memory must hold them
_OF_ONE = 4  # most questions on one paragraph


@dataclass(frozen=True, slots=True)
class PracticeQuestions:
    """Questions of another task. From number 0 on, every `together` examples share a document."""

    name: str
    task: ParagraphTask
    asked: Sequence[Asked]
    together: int
    answer_tokens: int = 64
    placed: bool = True
    metrics: tuple[str, ...] = ("f1", "sub_em")
    absent: float = 0.15
    """Share of the questions that the document does not answer."""
    related: bool = False
    """Whether a document asks about a few paragraphs of one article and also shows the article's other paragraphs."""

    @property
    def size(self) -> int:
        return len(self.asked)

    @property
    def units(self) -> tuple[Unit, ...]:
        return self.task.units

    def example(self, length: Length, number: int, seed: int, tokenizer: Tokenizer) -> Example:
        """Return an example. With the longest question on its document, it has the length asked for."""
        sheet, which = divmod(number, self.together)
        draw = generator(self.name, length, sheet, seed)
        asked = self._related(sheet, seed, draw) if self.related else self._any(sheet, seed)
        missing: dict[tuple[int, ...], bool] = {}
        for each in asked:
            missing.setdefault(each.gold, draw.random() < self.absent)
        wanted = [not missing[each.gold] for each in asked]
        for fewer in range(self.together + 1):
            present = self._present(asked, [False] * fewer + wanted[fewer:])
            with suppress(TooShort):
                whole = self.task.of(self._joined(asked, present), length, sheet, seed, tokenizer)
                break
        else:
            raise TooShort(f"{self.name} cannot be {length} long: give a larger length.")
        mine, before = asked[which], sum(len(each.facts) for each in compress(asked[:which], present))
        answers, facts = mine.answers, whole.facts[before : before + len(mine.facts)]
        if not present[which]:
            answers, facts = (ABSENT,), ()
        return replace(whole, question=self.task.question(mine), answers=answers, facts=facts, query=mine.question)

    def memories(self, example: Example, segments: Iterable[Segment]) -> Iterator[str]:
        return self.task.memories(example, segments)

    def _any(self, sheet: int, seed: int) -> list[Asked]:
        order, first = permutation(self.name, self.size, seed), sheet * self.together
        return [self.asked[order[place % self.size]] for place in range(first, first + self.together)]

    def _related(self, sheet: int, seed: int, draw: random.Random) -> list[Asked]:
        """Return questions on one article, a few on each of several paragraphs."""
        lead = self.asked[permutation(self.name, self.size, seed)[sheet % self.size]]
        of_paragraph: dict[tuple[int, ...], list[Asked]] = {lead.gold: []}
        for each in self.asked:
            if each.near == lead.near:
                of_paragraph.setdefault(each.gold, []).append(each)
        first, *rest = of_paragraph
        draw.shuffle(rest)
        asked: list[Asked] = []
        for gold in (first, *rest):
            mates = of_paragraph[gold]
            draw.shuffle(mates)
            # Answered questions come first, but at least one place is left for an unanswered one.
            mates.sort(key=lambda each: not each.facts)
            answered = sum(bool(each.facts) for each in mates[: _OF_ONE - 1])
            unanswered = [each for each in mates if not each.facts][: _OF_ONE - answered]
            asked += (mates[:answered] + unanswered)[: self.together - len(asked)]
        return asked

    def _present(self, asked: Sequence[Asked], wanted: Sequence[bool]) -> list[bool]:
        """Return which questions the document answers: the wanted ones, and any that their paragraphs answer too."""
        present = list(wanted)
        for place, each in enumerate(asked):
            needed = {paragraph for other in compress(asked, present) for paragraph in other.gold}
            present[place] |= any(self._answers(paragraph, each) for paragraph in needed)
        return present

    def _answers(self, paragraph: int, asked: Asked) -> bool:
        """Whether an answer appears in the paragraph, so that the paragraph could seem to answer the question."""
        return any(find_words(self.task.text(paragraph), answer) for answer in asked.answers)

    def _joined(self, asked: Sequence[Asked], present: Sequence[bool]) -> Asked:
        """Merge the questions into one. It needs the paragraphs of those present and bars those of the others."""
        here = list(compress(asked, present))
        gold = dict.fromkeys(paragraph for each in here for paragraph in each.gold)
        near = [paragraph for each in asked for paragraph in each.near]
        gone = {
            paragraph
            for each in asked
            if each not in here
            for paragraph in (*each.gold, *near)
            if paragraph in each.gold or self._answers(paragraph, each)
        }
        return Asked(
            max((each.question for each in asked), key=len),
            (),
            facts=tuple(fact for each in here for fact in each.facts),
            gold=tuple(gold),
            near=near,
            barred=frozenset(gone - gold.keys()).union(*(each.barred for each in asked)),
            before=tuple(pair for each in here for pair in each.before),
        )


def practice_squad(squad: str | Path) -> PracticeQuestions:
    """Return practice questions from SQuAD."""
    return _practice("practice_squad", qa_1(squad), 8)


def practice_hotpotqa(hotpotqa: str | Path, paragraphs: str | Path) -> PracticeQuestions:
    """Return practice questions from HotpotQA, among paragraphs of Wikipedia."""
    return _practice("practice_hotpotqa", hqa(hotpotqa, paragraphs), 4)


def squad_absent(squad: str | Path) -> PracticeQuestions:
    """Return an evaluation task: SQuAD questions over paragraphs, mostly of one article, without the answer."""
    task = qa_1(squad)
    return PracticeQuestions("squad_absent", task, task.asked, 1, task.answer_tokens, metrics=("abstains",), absent=1)


def practice_articles(squad: str | Path, unanswerable: str | Path) -> PracticeQuestions:
    """Return practice questions on one SQuAD article. A paragraph only seems to answer some of them."""
    task = qa_1(squad)
    held = [each for each in task.asked if _is_short(each)] + _unanswered(task, unanswerable)
    return PracticeQuestions("practice_articles", task, held, 16, absent=0.25, related=True)


def squad_unanswerable(squad: str | Path, unanswerable: str | Path) -> PracticeQuestions:
    """Return an evaluation task: SQuAD 2.0 questions that their paragraph seems to answer but does not."""
    task = qa_1(squad)
    asked = _unanswered(task, unanswerable)
    return PracticeQuestions(
        "squad_unanswerable", task, asked, 8, task.answer_tokens, metrics=("abstains",), absent=0, related=True
    )


def practice_hops(hotpotqa: str | Path, paragraphs: str | Path) -> PracticeQuestions:
    """Return practice questions from HotpotQA. A paragraph that only another one leads to comes after that one."""
    task = hqa(hotpotqa, paragraphs)
    held = [replace(each, before=_order(each)) for each in task.asked if _is_short(each)]
    return PracticeQuestions("practice_hops", task, held, 8, absent=0.25)


def _unanswered(task: ParagraphTask, unanswerable: str | Path) -> list[Asked]:
    """Return the questions that the task's paragraphs do not answer, each with its paragraph."""
    of_paragraph = {each.gold[0]: each for each in task.asked}
    number_of = {task.text(gold): gold for gold in of_paragraph}
    return [
        Asked(question, (ABSENT,), (), (number_of[context],), of_paragraph[number_of[context]].near)
        for _, context, questions in load_unanswerable(unanswerable)
        if context in number_of
        for question in questions
    ]


def _order(asked: Asked) -> tuple[tuple[int, int], ...]:
    """Return the order of two paragraphs: the question leads to the first, and only the first leads to the second.

    Empty if the question's paragraphs have no such order.
    """
    told: dict[int, str] = {}
    for paragraph, fact in asked.facts:
        told[paragraph] = f"{told.get(paragraph, '')}\n{fact.text}"
    if len(told) != 2:
        return ()
    title_of = {paragraph: text.strip().partition(": ")[0] for paragraph, text in told.items()}
    for first, second in (tuple(told), tuple(told)[::-1]):
        led = find_words(told[first], title_of[second]) and not find_words(asked.question, title_of[second])
        if led and not find_words(told[second], title_of[first]):
            return ((first, second),)
    return ()


def _is_short(asked: Asked) -> bool:
    return sum(len(fact.text) for _, fact in asked.facts) <= _MOST


def _practice(name: str, task: ParagraphTask, together: int) -> PracticeQuestions:
    return PracticeQuestions(name, task, [each for each in task.asked if _is_short(each)], together)
