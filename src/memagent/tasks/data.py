"""Loads and checks the published data that tasks are made of, from a path or the Hugging Face hub.

    prose       text files, or JSON with {"text": …} (Paul Graham's essays as RULER ships them)
    SQuAD       the official JSON, v1.1 or v2.0; a JSONL with one paragraph per line; the hub's rows
    HotpotQA    the official JSON; a JSONL with one question per line; the hub's rows
    paragraphs  JSONL {"title": …, "text": …}
    stories     FairytaleQA: a JSONL file with one story per line, {"title", "sections", "qas"}
    words       one word per line

Files may be gzipped. A path `hub:NAME` is loaded from the hub (hub_rows.py). Errors name the file and the line.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, TypeAdapter

from memagent.documents.refusals import reading
from memagent.errors import DocumentError
from memagent.tasks import hub_rows
from memagent.tasks.rows import Written, checked, read_rows, read_text


@dataclass(frozen=True, slots=True)
class Paragraph:
    title: Written
    text: Written


@dataclass(frozen=True, slots=True)
class SquadQuestion:
    question: str
    answers: tuple[str, ...]
    """The right answers, without duplicates. Any one of them counts."""
    start: int
    """Offset of the first answer in the context, in characters."""


@dataclass(frozen=True, slots=True)
class SquadPassage:
    """A paragraph of an article, with the questions that it answers (perhaps none)."""

    title: str
    context: str
    questions: tuple[SquadQuestion, ...]


@dataclass(frozen=True, slots=True)
class StoryQuestion:
    question: str
    answers: tuple[str, ...]
    """The right answers, without duplicates. Any one of them counts."""
    sections: tuple[int, ...]
    """Numbers of the story's sections that the answer rests on, from 0."""
    explicit: bool
    """Whether the text states the answer, so that it does not have to be inferred."""


@dataclass(frozen=True, slots=True)
class Story:
    title: str
    sections: tuple[str, ...]
    questions: tuple[StoryQuestion, ...]


@dataclass(frozen=True, slots=True)
class HotpotQuestion:
    question: str
    answer: str
    context: tuple[tuple[str, tuple[str, ...]], ...]
    """At most ten paragraphs, as title and sentences. Each sentence after the first begins with its space."""
    supports: tuple[tuple[str, int], ...]
    """Sentences that the answer rests on, as title and number from 0."""


def load_prose(path: str | Path) -> str:
    """Return the text of a .txt or .json file, or of a folder's .txt files sorted by name, with white space folded.

    Raises:
        DocumentError: there is no text, or a file is not text.
    """
    folder = Path(path)
    if folder.is_dir():
        with reading(str(path)):
            files = sorted(file for file in folder.iterdir() if file.name.endswith((".txt", ".txt.gz")))
        if not files:
            raise DocumentError(f"{path} is a folder without a .txt or .txt.gz file: put text files into it.")
        return " ".join(load_prose(file) for file in files)
    if hub_rows.is_hub(path) or str(path).removesuffix(".gz").endswith((".json", ".jsonl")):
        rows = [checked(_PROSE, place, row, "prose", "text") for place, row in read_rows(path)]
        text = "\n".join(row.text for row in rows)
    else:
        text = read_text(path)
    if folded := " ".join(text.split()):
        return folded
    raise DocumentError(f"{path} has no text in it: give prose to hide needles in.")


def load_words(path: str | Path) -> list[str]:
    """Return the words of a file with one word per line: lower case, distinct, sorted by code points.

    Raises:
        DocumentError: there is no such file, or a line holds more than one word.
    """
    words = set()
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if len(parts := line.lower().split()) > 1:
            raise DocumentError(f"Line {number} of {path} holds {len(parts)} words: put each on a line of its own.")
        words.update(parts)
    return sorted(words)


def load_paragraphs(path: str | Path) -> list[Paragraph]:
    """Return the paragraphs of a JSONL file whose lines are {"title": …, "text": …}. Raises DocumentError."""
    return [checked(_PARAGRAPH, place, row, "a paragraph", "title and text") for place, row in read_rows(path)]


def load_squad(path: str | Path) -> list[SquadPassage]:
    """Return SQuAD's paragraphs, each with those of its questions that have an answer.

    Raises:
        DocumentError: the file is not SQuAD, none of its questions has an answer, or an answer is not in its context.
    """
    passages: dict[tuple[str, str], list[SquadQuestion]] = {}
    for place, row in read_rows(path):
        article = _article(place, row)
        for passage in article.paragraphs:
            questions = passages.setdefault((article.title, passage.context), [])
            questions += [
                _squad_question(place, passage.context, asked)
                for asked in passage.qas
                if asked.answers and not asked.is_impossible
            ]
    if not any(passages.values()):
        raise DocumentError(f"{path} has no question with an answer: give SQuAD's train or dev set.")
    return [SquadPassage(title, context, tuple(questions)) for (title, context), questions in passages.items()]


def load_unanswerable(path: str | Path) -> list[tuple[str, str, tuple[str, ...]]]:
    """Return title, context and unanswerable questions of each SQuAD 2.0 paragraph that has any.

    Raises:
        DocumentError: the file is not SQuAD, or has no unanswerable question.
    """
    found = []
    for place, row in read_rows(path):
        article = _article(place, row)
        for passage in article.paragraphs:
            questions = tuple(asked.question for asked in passage.qas if asked.is_impossible)
            if questions:
                found.append((article.title, passage.context, questions))
    if not found:
        raise DocumentError(f"{path} has no question without an answer: give a file of SQuAD 2.0.")
    return found


def load_stories(path: str | Path) -> list[Story]:
    """Return FairytaleQA's stories with their questions. Raises DocumentError."""
    stories = []
    for place, row in read_rows(path):
        found = checked(_STORY, place, row, "a story of FairytaleQA", "title, sections and qas")
        if any(not 0 <= section < len(found.sections) for asked in found.qas for section in asked.sections):
            raise DocumentError(f"{place} has a question on a section that the story does not have: fix the file.")
        questions = tuple(
            StoryQuestion(
                asked.question,
                tuple(dict.fromkeys(asked.answers)),
                tuple(asked.sections),
                asked.scope == "local" and asked.kind == "explicit",
            )
            for asked in found.qas
        )
        stories.append(Story(found.title, tuple(found.sections), questions))
    return stories


def load_hotpotqa(path: str | Path) -> list[HotpotQuestion]:
    """Return the questions of HotpotQA's distractor setting. Raises DocumentError."""
    keys = "question, answer, context and supporting_facts"
    questions = []
    for place, row in read_rows(path):
        found = checked(_HOTPOT, place, row, "a HotpotQA question", keys)
        titles = {title for title, _ in found.context}
        if not found.supporting_facts or any(title not in titles for title, _ in found.supporting_facts):
            raise DocumentError(
                f"{place} has supporting facts that are not in its context: give HotpotQA's distractor setting."
            )
        context = tuple((title, tuple(sentences)) for title, sentences in found.context)
        questions.append(HotpotQuestion(found.question, found.answer, context, tuple(found.supporting_facts)))
    return questions


def _columns(*names: str) -> Callable[[object], object]:
    """Return a validator that turns the hub's pair of lists back into a list of pairs."""

    def pairs(value: object) -> object:
        if not isinstance(value, dict):
            return value
        columns = [column for name in names if isinstance(column := value.get(name), list)]
        if len(columns) < len(names):
            raise ValueError(f"Input should hold the lists {' and '.join(names)}")
        return list(zip(*columns, strict=True))

    return pairs


def _answer(value: object) -> object:
    """Return an answer of SQuAD as its text and start; it may come as an object, or as bare text."""
    if isinstance(value, dict):
        return value.get("text"), value.get("answer_start", -1)
    return (value, -1) if isinstance(value, str) else value


class _Prose(BaseModel):
    text: str


class _StoryQuestion(BaseModel):
    question: str
    answers: list[Written]
    sections: list[int]
    scope: str
    kind: str


class _Story(BaseModel):
    title: str
    sections: list[Written]
    qas: list[_StoryQuestion]


class _Asked(BaseModel):
    question: str
    answers: Annotated[
        list[Annotated[tuple[Written, int], BeforeValidator(_answer)]],
        BeforeValidator(_columns("text", "answer_start")),
    ] = []
    is_impossible: bool = False


class _Passage(BaseModel):
    context: str
    qas: list[_Asked]


class _Article(BaseModel):
    title: str
    paragraphs: list[_Passage]


class _Hotpot(BaseModel):
    question: str
    answer: Written
    context: Annotated[list[tuple[str, list[str]]], BeforeValidator(_columns("title", "sentences"))]
    supporting_facts: Annotated[list[tuple[str, int]], BeforeValidator(_columns("title", "sent_id"))]


_PROSE = TypeAdapter(_Prose)
_PARAGRAPH = TypeAdapter(Paragraph)
_STORY = TypeAdapter(_Story)
_ARTICLE = TypeAdapter(_Article)
_HOTPOT = TypeAdapter(_Hotpot)


def _article(place: str, row: dict[str, Any]) -> _Article:
    """Return the article, the paragraph, or (on the hub) the question that a row holds, as an article."""
    if "paragraphs" not in row:
        passage = {"context": row.get("context"), "qas": row.get("qas", [row])}
        row = {"title": row.get("title"), "paragraphs": [passage]}
    return checked(_ARTICLE, place, row, "a SQuAD entry", "title and paragraphs, or title, context and questions")


def _squad_question(place: str, context: str, asked: _Asked) -> SquadQuestion:
    first, start = asked.answers[0]
    if not context.startswith(first, start) or start < 0:
        start = context.find(first)
    if start < 0:
        raise DocumentError(f"{place} has the answer {first!r}, which is not in its context: fix the file.")
    return SquadQuestion(asked.question, tuple(dict.fromkeys(text for text, _ in asked.answers)), start)
