"""Readings as JSON, for the page and for MCP."""

from __future__ import annotations

from typing import Any

from memagent.core.records import Usage
from memagent.serve.job import Step
from memagent.serve.outcome import Outcome
from memagent.serve.replies import citation_of
from memagent.serve.service import Service
from memagent.serve.shelf import StoredReading


def brief(service: Service, stored: StoredReading) -> dict[str, Any]:
    """Return a reading without its memory, citations and warnings."""
    job = service.worker.jobs.get(stored.id)
    at = job.progress if job else stored
    names = service.shelf.names(stored.owner, stored.documents)
    return {
        "id": stored.id,
        "question": stored.question,
        "state": stored.state,
        "documents": [{"id": id_, "name": names.get(id_, "removed")} for id_ in stored.documents],
        "reader": stored.reader,
        "created": stored.created,
        "error": stored.error,
        "progress": {
            "characters": at.characters,
            "read": at.read,
            "segments": at.segments,
            "turns": at.turns,
            "ahead": service.ahead(stored) if stored.state == "queued" else 0,
        },
        "answer": stored.answer,
        "usage": {
            "prompt_tokens": at.prompt_tokens,
            "completion_tokens": at.completion_tokens,
        },
        "seconds": stored.seconds,
    }


async def full(service: Service, stored: StoredReading) -> dict[str, Any]:
    """Return a reading with its memory and, once it is finished, its answer and citations."""
    view = brief(service, stored)
    job = service.worker.jobs.get(stored.id)
    if job:
        progress = job.progress
        usage = Usage(progress.prompt_tokens, progress.completion_tokens)
        found = Outcome(None, "stop", progress.memory, (), (), usage, progress.segments)
    else:
        nothing = Outcome(None, "stop", "", (), (), Usage(), 0)
        found = await service.worker.outcome(stored) or nothing
    return view | {
        "memory": found.memory,
        "answer": found.answer,
        "citations": [citation_of(each) for each in found.citations],
        "warnings": list(found.warnings),
        "usage": {"prompt_tokens": found.usage.prompt_tokens, "completion_tokens": found.usage.completion_tokens},
    }


def step_of(step: Step) -> dict[str, Any]:
    """Return a turn's change to the memory: the words that stayed, were removed and were added."""
    change = step.change
    return {
        "turn": change.turn,
        "segment": step.segment,
        "kind": change.kind,
        "parts": change.parts,
        "memory": step.memory,
        "added": change.added,
        "removed": change.removed,
    }
