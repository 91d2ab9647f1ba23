"""The lines of a journal: turns to lines and back, and checks of lines from unknown sources.

A template is written once, under the first letters of its sha256. The values that fill it are written out, unless the
line or the header has them already. `{"is": "question"}` then refers to the question, "section" to the segment, and
"before" to the memory before the turn. So the exact prompt can be rebuilt, and the line has a digest to check it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, InstanceOf

from memagent.core.budget import Budget
from memagent.core.prompts import fill
from memagent.core.records import Completion, Finish, Message, Request, Segment, Tokens, Turn, Usage
from memagent.errors import BudgetError

FORMAT = 2
"""Version of the line format. Journals in another format are refused."""

Text = InstanceOf[str]  # pydantic's own check refuses a name that is not UTF-8
Natural = Annotated[int, Field(ge=0)]
Pair = Annotated[list[Natural], Field(min_length=2, max_length=2)]
Triple = Annotated[list[Natural], Field(min_length=3, max_length=3)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Header = dict[str, Any]
Line = dict[str, Any]
Span = tuple[int, int, int]
"""Start, end and number of tokens of a segment."""


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


class _Given(_Strict):
    is_: Literal["question", "section", "before"] = Field(alias="is")


class _Kept(_Strict):
    is_: Literal["reply", "before"] = Field(alias="is")


class _Turn(_Strict):
    turn: Natural
    wave: Natural
    place: Natural = 0
    kind: Text
    max_tokens: Natural
    before: Text
    template: Text = ""
    fields: dict[Text, Text | _Given] = {}
    messages: list[Annotated[list[Text], Field(min_length=2, max_length=2)]] = []
    digest: Text
    text: Text
    memory: Text | _Kept
    finish: Finish
    prompt_tokens: Natural
    completion_tokens: Natural
    seconds: Seconds
    overflowed: list[Annotated[list[Natural], Field(min_length=4, max_length=4)]] = []
    cut: list[Triple] = []
    together: list[Triple] = []  # older journals have this instead of `cut`


class _Section(_Strict):
    start: Natural
    end: Natural
    tokens: Natural
    section: Text
    whole: Pair | None = None


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
    answer: Text
    citations: list[_Citation]
    warnings: list[Text] = []


def check_header(value: Any) -> Header:
    """Return the header. Like the other checks, raises ValueError if the line is not valid."""
    found = _Header.model_validate(value)
    try:
        Budget(**found.budget)
    except BudgetError as error:
        raise ValueError(str(error)) from error
    header: Header = value
    return header


def check_template(value: Any) -> tuple[str, str]:
    """Return the name and the text of a template."""
    name, text = value["template"], value["text"]
    if not isinstance(text, str) or template_name(text) != name:
        raise ValueError("The template's name does not match its text.")
    return name, text


def check_turn(value: Any, templates: Mapping[str, str]) -> Line:
    found = _Turn.model_validate(value)
    if found.template and found.template not in templates:
        raise ValueError("The template is missing.")
    line: Line = value
    if "section" in line and len((read := _Section.model_validate(line)).section) != read.end - read.start:
        raise ValueError("The section's length does not match its start and end.")
    if "ids" in line:
        _Sampled.model_validate(line)
    return line


def check_end(value: Any, turns: int) -> dict[str, Any]:
    end = _End.model_validate(value)
    if any(each.turn >= turns or each.start > each.end for each in end.citations):
        raise ValueError("A citation has no such turn, or ends before it starts.")
    found: dict[str, Any] = value
    return found


def template_name(template: str) -> str:
    return hashlib.sha256(template.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def line_of(turn: Turn, question: str, overflowed: Sequence[tuple[int, Request]], taken: Sequence[Segment]) -> Line:
    """Return the line of a turn.

    Args:
        overflowed: requests that did not fit since the turn before, each with its place in the wave.
        taken: segments that the reading has taken since the turn before.
    """
    request, completion = turn.request, turn.completion
    segment = request.segment
    line: Line = {"turn": turn.index, "wave": turn.wave}
    line |= {"place": turn.place} if turn.place else {}
    if overflowed:
        line["overflowed"] = [(place, *_span(each.segment)) for place, each in overflowed]
    if others := [_span(each) for each in taken if each != segment]:
        line["cut"] = others
    line |= {"kind": request.kind, "max_tokens": request.max_tokens}
    if segment is not None:
        line |= {"start": segment.start, "end": segment.end, "tokens": segment.tokens, "section": segment.text}
        line |= {"whole": segment.whole} if segment.whole else {}
    line["before"] = request.memory
    if request.template:
        known = {"question": question, "section": segment.text if segment else "", "before": request.memory}
        line["template"] = template_name(request.template)
        line["fields"] = {name: _shortened(value, known) for name, value in request.fields}
    else:
        line["messages"] = [(message.role, message.content) for message in request.messages]
    line |= {
        "digest": digest(request),
        "text": completion.text,
        "memory": _shortened(turn.memory, {"reply": completion.text, "before": request.memory}),
        "finish": completion.finish,
        "prompt_tokens": completion.usage.prompt_tokens,
        "completion_tokens": completion.usage.completion_tokens,
        "seconds": round(completion.usage.seconds, 4),
    }
    if completion.tokens:
        tokens = completion.tokens
        line |= {"ids": tokens.ids, "logprobs": tokens.logprobs, "prompt_ids": tokens.prompt}
    return line


def turn_of(line: Line, question: str, templates: Mapping[str, str]) -> Turn:
    """Return the turn on a line.

    Raises:
        ValueError: the rebuilt prompt does not match the line's digest.
    """
    segment, before = _segment(line), line["before"]
    template, fields = templates.get(line.get("template", ""), ""), dict[str, str]()
    messages: tuple[Message, ...]
    if template:
        known = {"question": question, "section": line.get("section", ""), "before": before}
        fields = {name: _whole(value, known) for name, value in line["fields"].items()}
        messages = (Message("user", fill(template, **fields)),)
    else:
        messages = tuple(Message(role, content) for role, content in line["messages"])
    asked = (line["max_tokens"], segment, before, line["kind"], template, tuple(fields.items()))
    request = Request(messages, *asked)
    if digest(request) != line["digest"]:
        raise ValueError("its prompt does not match its digest")
    tokens = None
    if "ids" in line:
        tokens = Tokens(*(tuple(line[name]) for name in ("ids", "logprobs", "prompt_ids")))
    completion = Completion(line["text"], line["finish"], usage_of(line), tokens)
    memory = _whole(line["memory"], {"reply": completion.text, "before": before})
    return Turn(line["turn"], request, completion, memory, line["wave"], line.get("place", 0))


def digest(request: Request) -> str:
    """Return a digest of the request's messages. BLAKE2 takes a third of the time of sha256."""
    text = "\0".join(f"{message.role}\0{message.content}" for message in request.messages)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def spans_of(line: Line) -> list[Span]:
    """Return the spans of all segments that a line mentions."""
    found = [*line.get("cut", ()), *line.get("together", ()), *(each[1:] for each in line.get("overflowed", ()))]
    if "section" in line:
        found.append((line["start"], line["end"], line["tokens"]))
    return [(start, end, tokens) for start, end, tokens in found if end > start]


def usage_of(line: Line) -> Usage:
    return Usage(line["prompt_tokens"], line["completion_tokens"], line["seconds"])


def _span(segment: Segment | None) -> Span:
    return (segment.start, segment.end, segment.tokens) if segment else (0, 0, 0)


def _segment(line: Line) -> Segment | None:
    if "section" not in line:
        return None
    whole = tuple(line["whole"]) if "whole" in line else None
    return Segment(line["start"], line["end"], line["section"], line["tokens"], whole)


def _shortened(text: str, known: Mapping[str, str]) -> str | dict[str, str]:
    """Return the text, or a reference to the known text that equals it."""
    return next(({"is": name} for name, each in known.items() if each == text), text)


def _whole(value: str | dict[str, str], known: Mapping[str, str]) -> str:
    return value if isinstance(value, str) else known[value["is"]]
