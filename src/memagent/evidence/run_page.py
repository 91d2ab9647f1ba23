"""The page of a run on disk."""

from __future__ import annotations

from memagent.core.prompts import prompts_for
from memagent.core.scoring import final_answer
from memagent.documents import locate
from memagent.evidence.answer import citations_of, parts_of, warnings_of
from memagent.evidence.page import page
from memagent.runs.run import Run


def run_page(run: Run) -> str:
    """Return the HTML page of a run, finished or not."""
    parts = parts_of(run)
    return page(
        run.trace,
        citations_of(run) or [],
        title=", ".join(part.name for part in parts),
        answer=answer_of(run),
        locate=lambda start, end: locate(parts, start, end),
        warnings=warnings_of(run),
    )


def answer_of(run: Run) -> str | None:
    """Return the answer as `ask` printed it; None if the reading is not finished."""
    if run.end is not None:
        return str(run.end["answer"])
    answer = run.trace.answer
    style = prompts_for(run.header["layout"], run.header["answer"]).style
    return None if answer is None else final_answer(answer, style)
