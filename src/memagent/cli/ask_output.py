"""Printing of answers, citations, figures and JSON. Results go to stdout, everything else to stderr."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from rich.console import Console
from rich.text import Text

from memagent.cli.ask_screen import ReadingScreen
from memagent.cli.terminal import Terminal
from memagent.core.limits import Limits
from memagent.documents import Document
from memagent.evidence.answer import Answer, Cited
from memagent.runs.watch import Watch


def watching(questions: Sequence[str], document: Document, model: str, silent: bool) -> AbstractContextManager[Watch]:
    """A screen that shows the readings, or nothing if `silent`."""
    if silent:
        return nullcontext(Watch())
    first, *others = [part.name for part in document.parts]
    return ReadingScreen(questions, f"{first} and {len(others)} more" if others else first, model)


def print_answer(answer: Answer, limits: Limits, several: bool) -> None:
    """Print answer and citations to stdout, and the figures to stderr."""
    out, err = Terminal(soft_wrap=True), Terminal(stderr=True, soft_wrap=True)
    if several:
        out.print(Text(answer.question, style="bold"))
    out.print(Text(answer.text))
    print_citations(answer.citations, out)
    usage = answer.usage
    segments = "segment" if answer.segments == 1 else "segments"
    facts = (
        f"{answer.segments:,} {segments}, {usage.prompt_tokens:,} tokens read, {usage.completion_tokens:,} written, "
        f"{answer.seconds:,.1f} s (all model calls: {usage.seconds:,.1f} s)"
    )
    if limits.price:
        facts += f", cost {limits.price.of(usage):.4f}"
    print_warnings(answer.warnings, err)
    timeline = f" Timeline: memagent show {answer.run}" if answer.run else ""
    err.print(Text(f"{facts}.{timeline}", style="dim"))
    if several:
        out.print()


def print_warnings(warnings: Iterable[str], console: Console) -> None:
    for warning in warnings:
        console.print(Text(f"Warning: {warning}", style="yellow"))


def print_citations(citations: Iterable[Cited], console: Console) -> None:
    """Print a line per citation: document, page if there is one, characters, turn (from 1), quote."""
    for number, place in enumerate(citations, 1):
        page = f"page {place.page}, " if place.page is not None else ""
        where = f"  [{number}] {place.document}, {page}{place.start:,}–{place.end:,}, turn {place.turn + 1}"
        console.print(Text(f"{where}: “{' '.join(place.quote.split())}”", style="dim"))


def as_json(answer: Answer, limits: Limits) -> dict[str, Any]:
    """The object that `--json` prints for an answer."""
    usage: dict[str, float] = {
        "prompt_tokens": answer.usage.prompt_tokens,
        "completion_tokens": answer.usage.completion_tokens,
        "model_seconds": round(answer.usage.seconds, 3),
        "seconds": round(answer.seconds, 3),
    }
    if limits.price:
        usage["cost"] = round(limits.price.of(answer.usage), 6)
    places = []
    for cited in answer.citations:
        place = {
            "document": cited.document,
            "start": cited.start,
            "end": cited.end,
            "quote": cited.quote,
            "segment": cited.segment,
        }
        places.append(place | ({"page": cited.page} if cited.page is not None else {}))
    return {
        "question": answer.question,
        "answer": answer.text,
        "finish": answer.finish,
        "memory": answer.memory,
        "citations": places,
        "segments": answer.segments,
        "usage": usage,
        "run": str(answer.run) if answer.run else None,
        "warnings": list(answer.warnings),
    }
