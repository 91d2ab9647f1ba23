"""The answer to a question, with the places in the documents it rests on; of a reading, or of a run on disk."""

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
    """A place the answer rests on: `quote` is `[start:end]` of the named document, in characters."""

    document: str
    start: int
    end: int
    quote: str
    segment: int
    """The number of the segment it was read in, from 0."""
    turn: int
    """The turn that read it, from 0: another number than the segment's where segments were looked at again."""
    page: int | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a reading gave. `seconds` is wall time of this call; `usage` counts every turn, resumed ones too.

    With a run, `trace` is a view of its journal: it lasts as long as the journal does.
    """

    question: str
    text: str
    finish: Finish
    """"length" when the answer was cut by its token limit."""
    memory: str
    citations: tuple[Cited, ...]
    segments: int
    """How many were read."""
    trace: Trace
    usage: Usage
    seconds: float
    run: Path | None
    warnings: tuple[str, ...] = ()
    """What was not read or not kept as it should be, and why the answer may be wrong, a sentence each."""


def cited(citation: Citation, parts: Sequence[Part], segments: Sequence[int]) -> Cited:
    """A citation of the joined text, as a place in one of its documents. `segments` is the trace's."""
    place = locate(parts, citation.start, citation.end)
    quote = citation.quote[: place.end - place.start]
    return Cited(place.name, place.start, place.end, quote, segments[citation.turn], citation.turn, place.page)


def citations_of(run: Run) -> list[Citation] | None:
    """The citations that a finished run holds; None while it is unfinished."""
    return None if run.end is None else [Citation(**citation) for citation in run.end["citations"]]


def warnings_of(run: Run) -> list[str]:
    """The warnings that a finished run holds; none while it is unfinished."""
    return [] if run.end is None else [str(each) for each in run.end.get("warnings", ())]


def parts_of(run: Run) -> list[Part]:
    """Where each document of a run lies in the joined text."""
    return [Part(each["name"], each["start"], each["end"], tuple(each["pages"])) for each in run.header["documents"]]
