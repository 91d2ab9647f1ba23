"""What stands on the lines of a journal: a turn as a line and back, and what a line of a stranger's must be."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, InstanceOf

from memagent.core.budget import Budget
from memagent.core.prompts import prompts_for
from memagent.core.records import Completion, Finish, Kind, Segment, Tokens, Turn, Usage
from memagent.errors import BudgetError, UsageError

Text = InstanceOf[str]  # pydantic's own check refuses a name that is not UTF-8
Natural = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Header = dict[str, Any]
Line = dict[str, Any]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True)


class _Document(_Strict):
    name: Text
    start: Natural
    end: Natural
    pages: list[Natural]


class _Header(BaseModel):
    memagent: Text
    question: Text
    budget: dict[str, Annotated[int, Field(ge=0, strict=True)]]
    layout: Text
    answer: Text
    documents: list[_Document]


class _Section(_Strict):
    start: Natural
    end: Natural
    tokens: Natural
    section: Text
    rest: list[Natural] = []
    kind: Kind = "memorize"


class _Turn(_Strict):
    turn: Natural
    text: Text
    kept: Text = ""
    finish: Finish
    prompt_tokens: Natural
    completion_tokens: Natural
    seconds: Seconds


class _Sampled(_Strict):
    ids: list[Natural]
    logprobs: list[float]
    prompt_ids: list[Natural]


class _Citation(_Strict):
    start: Natural
    end: Natural
    quote: Text
    turn: Natural
    score: Annotated[float, Field(ge=0, le=1)]
    fact: Text


class _End(BaseModel):
    citations: list[_Citation]
    warnings: list[Text] = []


def check_header(value: Any) -> Header:
    """Raises ValueError, as the others do, when it is none."""
    found = _Header.model_validate(value)
    try:
        Budget(**found.budget)
        prompts_for(found.layout, found.answer)
    except (BudgetError, UsageError) as error:
        raise ValueError(str(error)) from error
    header: Header = value
    return header


def check_turn(value: Any) -> Line:
    _Turn.model_validate(value)
    line: Line = value
    if "section" in line and len((read := _Section.model_validate(line)).section) != read.end - read.start:
        raise ValueError("The section has another length than its place.")
    if "ids" in line:
        _Sampled.model_validate(line)
    return line


def check_end(value: Any, turns: int) -> dict[str, Any]:
    end = _End.model_validate(value)
    if any(each.turn >= turns or each.start > each.end for each in end.citations):
        raise ValueError("A citation of no turn.")
    found: dict[str, Any] = value
    return found


def line_of(turn: Turn) -> Line:
    segment, completion = turn.request.segment, turn.completion
    line: Line = {"turn": turn.index}
    if segment is not None:
        line |= {"start": segment.start, "end": segment.end, "tokens": segment.tokens}
        line |= {"rest": segment.rest} if segment.rest else {}
        line |= {"section": segment.text}
        line |= {} if turn.request.kind == "memorize" else {"kind": turn.request.kind}
    line |= {
        "text": completion.text,
        **({} if turn.kept is None else {"kept": turn.kept}),
        "finish": completion.finish,
        "prompt_tokens": completion.usage.prompt_tokens,
        "completion_tokens": completion.usage.completion_tokens,
        "seconds": round(completion.usage.seconds, 4),
    }
    if completion.tokens:
        tokens = completion.tokens
        line |= {"ids": tokens.ids, "logprobs": tokens.logprobs, "prompt_ids": tokens.prompt}
    return line


def segment_of(line: Line) -> Segment | None:
    if "section" not in line:
        return None
    return Segment(line["start"], line["end"], line["section"], line["tokens"], tuple(line.get("rest", ())))


def completion_of(line: Line) -> Completion:
    tokens = None
    if "ids" in line:
        tokens = Tokens(*(tuple(line[name]) for name in ("ids", "logprobs", "prompt_ids")))
    return Completion(line["text"], line["finish"], usage_of(line), tokens)


def memory_of(line: Line) -> str:
    memory: str = line["kept"] if "kept" in line else line["text"]
    return memory


def usage_of(line: Line) -> Usage:
    return Usage(line["prompt_tokens"], line["completion_tokens"], line["seconds"])
