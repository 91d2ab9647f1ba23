"""Write a reading as one HTML page: the question, the answer, the passages behind it, and how the memory grew.

The page is self-contained (its policy forbids network access), and all text from outside is escaped, because a document
may contain "</script>". Unchanged stretches of a memory are elided, so that a book's 700 turns fit one page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from html import escape
from importlib.resources import files
from math import sqrt
from string import Template

from memagent.core.records import Trace, Usage
from memagent.documents import Located
from memagent.evidence.citations import Citation
from memagent.evidence.timeline import Change, Op, changes, elided

Locate = Callable[[int, int], Located]
"""A function that takes a span of the whole text and returns the document, the place in it and the page."""

_CONTEXT = 220  # characters of the segment shown on each side of a quote
_TAGS: dict[Op, str] = {"same": "{}", "added": "<ins>{}</ins>", "removed": "<del>{}</del>"}


def page(
    trace: Trace,
    citations: Sequence[Citation],
    *,
    title: str,
    answer: str | None = None,
    locate: Locate | None = None,
    warnings: Iterable[str] = (),
) -> str:
    """Return the page of a reading.

    Args:
        trace: the reading, finished or not.
        citations: the result of `cite(trace)`.
        title: names of the documents, for people.
        answer: the answer to show; None for the answer as the model wrote it.
        locate: finds the document and page of a span of the whole text; without it, only offsets are shown.
        warnings: sentences about losses in the reading.
    """
    timeline = changes(trace)
    cited: dict[int, list[int]] = {}
    for number, citation in enumerate(citations, start=1):
        cited.setdefault(citation.turn, []).append(number)
    template = Template(files("memagent.evidence").joinpath("page.html").read_text(encoding="utf-8"))
    return template.substitute(
        title=escape(title),
        question=escape(trace.question),
        answer=_answer(trace.answer if answer is None else answer),
        warnings=_warnings(warnings),
        figures=_figures(trace, timeline),
        citations=_citations(trace, citations, locate),
        memory=_memory(trace.memory, citations),
        cell="22px" if len(timeline) <= 200 else "15px",
        strip="".join(_cell(change, change.turn in cited) for change in timeline),
        rows="\n".join(_row(change, cited.get(change.turn, []), locate) for change in timeline),
    )


def _answer(answer: str | None) -> str:
    if answer is None:
        return '<p class="note">There is no answer yet: the reading is not finished.</p>'
    return f'<p class="answer">{escape(answer.strip()) or "(an empty answer)"}</p>'


def _warnings(warnings: Iterable[str]) -> str:
    items = "".join(f"<li>{escape(each)}</li>" for each in warnings)
    return f'<ul class="warnings">{items}</ul>' if items else ""


def _figures(trace: Trace, timeline: Sequence[Change]) -> str:
    usage = trace.usage
    spans = {change.span for change in timeline if change.span}
    read = sum(end - start for start, end in spans)
    segments = len(spans)
    pairs = [
        (f"{segments:,}", "segment" if segments == 1 else "segments"),
        (f"{read:,}", "characters"),
        (f"{usage.prompt_tokens:,}", "tokens read"),
        (f"{usage.completion_tokens:,}", "tokens written"),
        (duration(usage.seconds), "model time"),
    ]
    return f'<dl class="figures">{"".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for value, name in pairs)}</dl>'


def _citations(trace: Trace, citations: Sequence[Citation], locate: Locate | None) -> str:
    if not citations:
        return '<p class="note">No passage was found that supports the answer. Check it yourself.</p>'
    items = "\n".join(_citation(trace, number, each, locate) for number, each in enumerate(citations, start=1))
    return (
        '<p class="note">Facts in the memory, each with the passage it came from.</p>\n'
        f'<ol class="citations">\n{items}\n</ol>'
    )


def _citation(trace: Trace, number: int, citation: Citation, locate: Locate | None) -> str:
    segment = trace.turns[citation.turn].request.segment
    assert segment is not None
    start, end = citation.start - segment.start, citation.end - segment.start
    before, after = segment.text[max(0, start - _CONTEXT) : start], segment.text[end : end + _CONTEXT]
    if start > _CONTEXT:
        before = "… " + "".join(before.split(None, 1)[-1:])
    if end + _CONTEXT < len(segment.text):
        after = "".join(after.rsplit(None, 1)[:1]) + " …"
    return f"""<li class="citation" id="citation-{number}">
<h3><b>{number}</b><span>{escape(citation.fact)}</span></h3>
<blockquote>{escape(before)}<mark>{escape(citation.quote)}</mark>{escape(after)}</blockquote>
<p class="where">{_where(citation.start, citation.end, locate)}
<a href="#turn-{citation.turn + 1}">turn {citation.turn + 1}</a>
<span title="Share of the fact that is in the passage">match {citation.score:.0%}</span></p>
</li>"""


def _where(start: int, end: int, locate: Locate | None) -> str:
    if locate is None:
        return f"<span>characters {start:,}–{end:,}</span>"
    place = locate(start, end)
    leaf = "" if place.page is None else f"<span>page {place.page:,}</span> "
    return f"<b>{escape(place.name)}</b> {leaf}<span>characters {place.start:,}–{place.end:,}</span>"


def _memory(memory: str, citations: Sequence[Citation]) -> str:
    """Return the last memory, with cited facts marked with the numbers of their passages."""
    if not memory.strip():
        return '<p class="note">The memory is empty.</p>'
    spans: list[tuple[int, int, int]] = []
    for number, citation in enumerate(citations, start=1):
        start = memory.find(citation.fact)
        end = start + len(citation.fact)
        if start >= 0 and all(end <= other or other_end <= start for other, other_end, _ in spans):
            spans.append((start, end, number))
    parts, done = [], 0
    for start, end, number in sorted(spans):
        mark = f'<mark>{escape(memory[start:end])}</mark><sup><a href="#citation-{number}">{number}</a></sup>'
        parts += [escape(memory[done:start]), mark]
        done = end
    return f'<p class="memory">{"".join(parts)}{escape(memory[done:])}</p>'


def _cell(change: Change, cited: bool) -> str:
    # The square root keeps small changes apart, because most turns of a long reading change little.
    level = 1 + min(3, int(sqrt(change.share) * 4)) if change.share else 0
    says = f"Turn {change.turn + 1}: {_summary(change)}{', cited' if cited else ''}"
    names = f"l{level} cited" if cited else f"l{level}"
    return f'<li><a class="{names}" href="#turn-{change.turn + 1}" title="{says}" aria-label="{says}"></a></li>'


def _summary(change: Change) -> str:
    if change.added or change.removed:
        return f"{change.added} words added, {change.removed} removed"
    return "memory unchanged"


def _row(change: Change, numbers: Iterable[int], locate: Locate | None) -> str:
    if change.added or change.removed:
        words = f'<span class="plus">+{change.added:,}</span> <span class="minus">−{change.removed:,}</span>'
        words += f' <span class="quiet">of {change.added + change.kept:,} words</span>'
        text = f'<p class="diff">{"".join(_TAGS[op].format(escape(part)) for op, part in elided(change.parts))}</p>'
    else:
        words = '<span class="quiet">unchanged</span>'
        text = f'<p class="quiet">The memory stayed {"as it was" if change.kept else "empty"}.</p>'
    if change.finish == "length":
        words += ' <span class="badge cut">cut by the limit</span>'
    if numbers := list(numbers):
        words += f' <span class="badge cite">cited {", ".join(map(str, numbers))}</span>'
    usage = change.usage
    cost = f"{usage.prompt_tokens:,} → {usage.completion_tokens:,} tokens · {duration(usage.seconds)}"
    if usage == Usage():  # the model reported no usage
        cost = ""
    return f"""<details id="turn-{change.turn + 1}"><summary><span class="n">{change.turn + 1}</span>\
<span class="words">{words}</span><span class="cost">{cost}</span></summary>
<div class="row">{text}<p class="where">{_where(*change.span, locate) if change.span else escape(change.kind)}\
{"".join(f' <a href="#citation-{number}">passage {number}</a>' for number in numbers)}</p></div></details>"""


def duration(seconds: float) -> str:
    """Return a duration as text: 0.4 s, 12 s, 3 min 20 s, 2 h 5 min."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60} min"
