"""The answer to a question, with the places in the documents that it rests on, from a reading or a run on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from memagent.core.records import Finish, Trace, Usage
from memagent.documents import Part, locate
from memagent.evidence.citations import Citation
from memagent.runs.run import Run


@dataclass(frozen=True, slots=True)
class Cited:
    """A place that the answer rests on: `quote` is `[start:end]` of the named document, in characters."""

    document: str
    start: int
    end: int
    quote: str
    segment: int
    """Number of the segment that holds the quote, from 0."""
    turn: int
    """Number of the turn that read the quote, from 0. Differs from `segment` if segments were looked at again."""
    page: int | None


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of a reading. `seconds` is the wall time of this call; `usage` counts every turn, resumed ones too.

    With a run, `trace` is a view of its journal and lasts as long as the journal does.
    """

    question: str
    text: str
    finish: Finish
    """"length" if the token limit cut the answer off."""
    memory: str
    citations: tuple[Cited, ...]
    segments: int
    """Number of segments read."""
    trace: Trace
    usage: Usage
    seconds: float
    run: Path | None
    warnings: tuple[str, ...] = ()
    """One sentence for each loss in the reading, and for each reason why the answer may be wrong."""


def cited(citation: Citation, parts: Sequence[Part], segments: Sequence[int]) -> Cited:
    """Return a citation of the joined text as a place in one of its documents. `segments` is the trace's."""
    place = locate(parts, citation.start, citation.end)
    quote = citation.quote[: place.end - place.start]
    return Cited(place.name, place.start, place.end, quote, segments[citation.turn], citation.turn, place.page)


def citations_of(run: Run) -> list[Citation] | None:
    """Return the citations in a finished run; None while it is unfinished."""
    return None if run.end is None else [Citation(**citation) for citation in run.end["citations"]]


def warnings_of(run: Run) -> list[str]:
    """Return the warnings in a finished run; an empty list while it is unfinished."""
    return [] if run.end is None else [str(each) for each in run.end.get("warnings", ())]


def parts_of(run: Run) -> list[Part]:
    """Return where each document of a run lies in the joined text."""
    return [Part(each["name"], each["start"], each["end"], tuple(each["pages"])) for each in run.header["documents"]]
