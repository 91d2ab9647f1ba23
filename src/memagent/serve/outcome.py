"""Get the result of a reading from its journal."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from memagent.core.records import Finish, Usage
from memagent.evidence.answer import Cited, citations_of, cited, parts_of, warnings_of
from memagent.runs.run import Run


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of a reading so far. Until the reading is finished, `answer` is None and there are no citations."""

    answer: str | None
    finish: Finish
    """"length" if the token limit cut the answer off."""
    memory: str
    citations: tuple[Cited, ...]
    warnings: tuple[str, ...]
    usage: Usage
    segments: int
    """Number of segments read so far."""


def outcome_of(folder: Path) -> Outcome:
    """Return the outcome of the run in `folder`. Raises RunError if the folder has no run."""
    run = Run(folder)
    trace = run.trace
    segments = trace.segments
    places = [cited(each, parts_of(run), segments) for each in citations_of(run) or ()]
    return Outcome(
        answer=None if run.end is None else str(run.end["answer"]),
        finish=trace.turns[-1].completion.finish if trace.turns else "stop",
        memory=trace.memory,
        citations=tuple(places),
        warnings=tuple(warnings_of(run)),
        usage=run.usage,
        segments=max(segments, default=-1) + 1,
    )


@dataclass(frozen=True, slots=True)
class Passage:
    """A citation in its segment: `before + quote + after` is the text of the segment."""

    cited: Cited
    before: str
    after: str


def passage_of(folder: Path, number: int) -> Passage | None:
    """Return the passage of a run's citation `number`, counted from 0; None if there is no such citation."""
    run = Run(folder)
    found = citations_of(run) or []
    if not 0 <= number < len(found):
        return None
    trace, citation = run.trace, found[number]
    segment = trace.turns[citation.turn].request.segment
    assert segment is not None  # only turns with a segment are cited
    place = cited(citation, parts_of(run), trace.segments)
    start = citation.start - segment.start
    return Passage(place, segment.text[:start], segment.text[start + len(place.quote) :])
