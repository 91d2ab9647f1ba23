"""Questions of your own from a JSONL file: one question per line, with its document or the path of a document.

{"question": "Who signed the lease?", "path": "leases/2019.pdf", "answers": ["Ada Lovelace", "A. Lovelace"]}
{"question": "What is the deposit?", "document": "The deposit is 1,200 euros. …", "answer": "1,200 euros"}

A path is relative to the file. It names a document that memagent reads, or a folder of documents. `"scorer"` is one of
`memagent.core.scoring.METRICS`, the same on all lines; the default is sub_em.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter

from memagent.core.records import Segment
from memagent.core.scoring import EVERY, METRICS, find_words
from memagent.core.tokenizer import Tokenizer, count
from memagent.documents import open_documents
from memagent.errors import DocumentError, UsageError
from memagent.tasks.example import Example, Fact, Length, Unit, facts_read
from memagent.tasks.rows import Written, checked, read_rows

_BYTES_A_TOKEN = 4  # a rough average


@dataclass(frozen=True, slots=True)
class OwnQuestion:
    question: str
    answers: tuple[str, ...]
    document: str | Path
    """Text of the document, or its path."""


@dataclass(frozen=True, slots=True)
class OwnTask:
    """The questions of one file, in its order. Documents keep their own length, and the seed changes nothing."""

    name: str
    metrics: tuple[str, ...]
    questions: tuple[OwnQuestion, ...]
    files: tuple[Path, ...]
    """The file itself, and the documents that it names."""
    answer_tokens: int = 128
    units: tuple[Unit, ...] = ("own",)
    placed: bool = True
    together: int = 1

    @property
    def size(self) -> int:
        return len(self.questions)

    def example(self, length: Length, number: int, seed: int, tokenizer: Tokenizer) -> Example:
        """Return question `number` with its document.

        The facts are the places where answers appear word for word: only the first answer found, or every answer if
        the scorer wants all. An answer that is not in the document gives no fact.
        """
        if length.unit not in self.units:
            raise UsageError(
                f"{self.name} has documents with a length of their own, so {length} does not apply: give no length."
            )
        if number >= self.size:
            raise UsageError(f"{self.name} has {self.size:,} questions, too few for example {number} (counted from 0).")
        asked = self.questions[number]
        document = asked.document if isinstance(asked.document, str) else _read(asked.document)
        facts = tuple(_facts(document, asked.answers))
        if self.metrics[0] not in EVERY:
            facts = facts[:1]
        template = f"{{context}}\n\nQuestion: {asked.question}\nAnswer:"
        example = Example(document, asked.question, asked.answers, facts, template, 0, asked.question)
        return replace(example, tokens=count(tokenizer, example.prompt()) + self.answer_tokens)

    def expected_tokens(self, number: int) -> int:
        """Estimate the number of tokens of a document without reading it."""
        document = self.questions[number].document
        return (len(document) if isinstance(document, str) else _bytes(document)) // _BYTES_A_TOKEN

    def memories(self, example: Example, segments: Iterable[Segment]) -> Iterator[str]:
        return facts_read(example, segments)


def load_own(path: str | Path, anywhere: bool = False) -> OwnTask:
    """Return the task in a JSONL file, named after the file. Checks all lines and opens each document once.

    Args:
        anywhere: whether lines may name documents outside the file's folder. A file from somebody else could send
            private files to a model.

    Raises:
        DocumentError: a line is not a question in this form, or its document cannot be read.
    """
    questions, scorers = [], set()
    opened: set[Path] = set()
    for place, row in read_rows(path):
        line = checked(_LINE, place, row, "a question", "question, document or path, and answers or answer")
        answers = line.answers or ([] if line.answer is None else [line.answer])
        if not answers or (line.answers and line.answer):
            raise DocumentError(f"{place} needs either answers (a list) or answer: give one of the two.")
        if line.scorer not in METRICS:
            raise DocumentError(f"{place} has the unknown scorer {line.scorer!r}: give one of {', '.join(METRICS)}.")
        scorers.add(line.scorer)
        if len(scorers) > 1:
            raise DocumentError(
                f"{place} has the scorer {line.scorer}, but the lines before it have another (sub_em if none is "
                "named): put the questions for each scorer into a separate file."
            )
        document = line.document if line.path is None else Path(path).parent / line.path
        if document is None or (line.document is not None and line.path is not None):
            raise DocumentError(f"{place} needs either document or path: give one of the two.")
        if isinstance(document, Path) and not anywhere and not _is_below(document, Path(path).parent):
            raise DocumentError(
                f"{place} names {line.path}, which is outside the file's folder: give --allow-paths if it may be read."
            )
        if isinstance(document, Path) and document not in opened:
            opened.add(document)
            _check(place, document)
        questions.append(OwnQuestion(line.question, tuple(answers), document))
    name = Path(Path(path).name.removesuffix(".gz")).stem
    return OwnTask(name, tuple(scorers), tuple(questions), (Path(path), *sorted(opened)))


def _bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file())


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid")

    question: Written
    document: Written | None = None
    path: Written | None = None
    answers: list[Written] | None = None
    answer: Written | None = None
    scorer: str = "sub_em"


_LINE = TypeAdapter(_Line)


def _is_below(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


def _check(place: str, path: Path) -> None:
    try:
        open_documents([str(path)]).close()
    except DocumentError as error:
        raise DocumentError(f"{place}: {error}") from error


@lru_cache(maxsize=1)  # questions about one document often follow one another
def _read(path: Path) -> str:
    with open_documents([str(path)]) as document:
        return "".join(document.chunks())


def _facts(document: str, answers: Iterable[str]) -> Iterator[Fact]:
    for answer in answers:
        if found := find_words(document, answer):
            yield Fact(answer, answer, found.start(), found.end())
