"""Questions over paragraphs to practise on: several questions share a document, and some have no answer in it.

As `practice`, for SQuAD and HotpotQA. A document holds the paragraphs that its questions rest on, save those of the
questions that it is not to answer; then paragraphs near to these in which their answers do not stand, then others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path

from memagent.records import Segment
from memagent.scoring import find_words
from memagent.tasks.example import Example, Length, Unit, generator
from memagent.tasks.fitting import TooShort
from memagent.tasks.paragraphs import Asked, ParagraphTask, permutation
from memagent.tasks.practice import ABSENT
from memagent.tasks.questions import hqa, qa_1
from memagent.tokenizer import Tokenizer

_MOST = 400  # characters of facts that a question may rest on: a small memory must hold them


@dataclass(frozen=True, slots=True)
class PracticeQuestions:
    """Another task's questions, `together` at a time: so many examples, from number 0 on, share a document."""

    name: str
    task: ParagraphTask
    asked: Sequence[Asked]
    together: int
    answer_tokens: int = 64
    placed: bool = True
    metrics: tuple[str, ...] = ("f1", "sub_em")
    absent: float = 0.15
    """The share of the questions that the document does not answer."""

    @property
    def size(self) -> int:
        return len(self.asked)

    @property
    def units(self) -> tuple[Unit, ...]:
        return self.task.units

    def example(self, length: Length, number: int, seed: int, tokenizer: Tokenizer) -> Example:
        """Of the length asked for with the longest of its document's questions."""
        sheet, which = divmod(number, self.together)
        order = permutation(self.name, self.size, seed)
        first = sheet * self.together
        asked = [self.asked[order[place % self.size]] for place in range(first, first + self.together)]
        draw = generator(self.name, length, sheet, seed)
        wanted = [draw.random() >= self.absent for _ in asked]
        for fewer in range(self.together + 1):
            present = self._present(asked, [False] * fewer + wanted[fewer:])
            with suppress(TooShort):
                whole = self.task.of(self._joined(asked, present), length, sheet, seed, tokenizer)
                break
        else:
            raise TooShort(f"{self.name} cannot be {length} long: give a greater length.")
        mine, before = asked[which], sum(len(each.facts) for each in compress(asked[:which], present))
        answers, facts = mine.answers, whole.facts[before : before + len(mine.facts)]
        if not present[which]:
            answers, facts = (ABSENT,), ()
        return replace(whole, question=self.task.question(mine), answers=answers, facts=facts, query=mine.question)

    def memories(self, example: Example, segments: Iterable[Segment]) -> Iterator[str]:
        return self.task.memories(example, segments)

    def _present(self, asked: Sequence[Asked], wanted: Sequence[bool]) -> list[bool]:
        """Which of the questions the document answers: those that are wanted, and what these answer anyway."""
        present = list(wanted)
        for place, each in enumerate(asked):
            needed = {paragraph for other in compress(asked, present) for paragraph in other.gold}
            present[place] |= any(self._answers(paragraph, each) for paragraph in needed)
        return present

    def _answers(self, paragraph: int, asked: Asked) -> bool:
        """Whether an answer stands in it, so that it might be taken for one."""
        return any(find_words(self.task.text(paragraph), answer) for answer in asked.answers)

    def _joined(self, asked: Sequence[Asked], present: Sequence[bool]) -> Asked:
        """One question for all of them, which needs the paragraphs of those that are present and bars the others'."""
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
        )


def practice_squad(squad: str | Path) -> PracticeQuestions:
    """Questions of SQuAD."""
    return _practice("practice_squad", qa_1(squad), 8)


def practice_hotpotqa(hotpotqa: str | Path, paragraphs: str | Path) -> PracticeQuestions:
    """Questions of HotpotQA, among paragraphs of Wikipedia."""
    return _practice("practice_hotpotqa", hqa(hotpotqa, paragraphs), 4)


def squad_absent(squad: str | Path) -> PracticeQuestions:
    """To measure by: questions of SQuAD over paragraphs, most of the same article, that do not hold the answer."""
    task = qa_1(squad)
    return PracticeQuestions("squad_absent", task, task.asked, 1, task.answer_tokens, metrics=("abstains",), absent=1)


def _practice(name: str, task: ParagraphTask, together: int) -> PracticeQuestions:
    held = [each for each in task.asked if sum(len(fact.text) for _, fact in each.facts) <= _MOST]
    return PracticeQuestions(name, task, held, together)
