"""Picks the few examples that a report shows: each task's worst examples of the memory reader, and failed examples.

`pick` reads the results once and keeps only the examples to show; `worst` and `failures` write them as HTML.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from html import escape

from memagent.bench.methods import MEMORY
from memagent.bench.results import Result, Tracked
from memagent.bench.table import tasks_in_order
from memagent.tasks.example import Length

_WORST = 3  # examples shown per task
_LISTED = 50  # failed examples listed under one cause
_CAUSES = 30
_CUT = 1500  # most characters shown of a prediction or a memory


@dataclass
class Picked:
    """The examples of a run that the report shows."""

    worst: dict[str, list[Result]] = field(default_factory=dict)
    """By task: the memory reader's examples with the lowest scores, short documents before long ones."""
    failed: dict[str, list[str]] = field(default_factory=dict)
    """By cause: names of the first examples."""
    failures: Counter[str] = field(default_factory=Counter)
    """By cause: number of failed examples."""


def pick(results: Iterable[Result]) -> Picked:
    """Pick the examples to show, in one pass."""
    picked = Picked()
    for result in results:
        if result.status == "failed":
            picked.failures[result.cause] += 1
            listed = picked.failed.setdefault(result.cause, [])
            if len(listed) < _LISTED:
                listed.append(f"{_name(result)}, {result.reader}, {result.model}")
        elif result.reader in MEMORY and result.status == "done" and _score(result) < 1:
            lowest = picked.worst.setdefault(result.task, [])
            lowest.append(result)
            lowest.sort(key=lambda each: (_score(each), each.tokens, each.number))
            del lowest[_WORST:]
    return picked


def _score(result: Result) -> float:
    return next(iter(result.scores.values()), 0.0)


def _name(result: Result) -> str:
    return f"{result.task}, {Length(result.length, result.unit)}, example {result.number}"


def worst(picked: Picked) -> str:
    """Return the worst examples as HTML, each folded up with its question, right answers, answer and last memory."""
    if not picked.worst:
        return '<p class="note">Nowhere: every example that it read scored 1.</p>'
    items = "\n".join(_example(result) for task in tasks_in_order(picked.worst) for result in picked.worst[task])
    return (
        f'<p class="note">For each task, the {_WORST} examples with the lowest scores, short ones first.</p>'
        f'<div class="list">{items}</div>'
    )


def _example(result: Result) -> str:
    right = "right" if len(result.answers) == 1 else "right (any or all, depending on the metric)"
    parts = [
        ("question", _cut(result.question), "text"),
        (right, "\n".join(result.answers), ""),
        ("the model's answer", _cut(result.prediction), "text"),
        ("the last memory", _cut(result.memory), "text"),
    ]
    if result.facts:
        parts.append(("what became of the facts", "\n".join(map(_fate, result.facts)), ""))
    inside = "".join(
        f'<dt>{name}</dt><dd class="{kind}">{escape(text) or "(empty)"}</dd>' for name, text, kind in parts
    )
    scores = ", ".join(f"{name} {100 * score:.0f}" for name, score in result.scores.items())
    states = dict.fromkeys(fact.state for fact in result.facts if fact.state != "answered")
    return (
        f"<details><summary>{escape(_name(result))}<span>{escape(scores)}</span>"
        f"<span>{', '.join(states)}</span></summary>"
        f'<dl class="inside">{inside}</dl></details>'
    )


def _fate(fact: Tracked) -> str:
    lost = "" if fact.lost_at is None else f" at step {fact.lost_at}"
    return f"at {100 * fact.depth:.0f} % of the document, read at step {fact.step}: {fact.state}{lost}"


def _cut(text: str) -> str:
    """Return the text, cut to its beginning and end if it is too long to show."""
    if len(text) <= _CUT:
        return text.strip()
    third = _CUT // 3
    return f"{text[: 2 * third].strip()}\n[… {len(text) - 3 * third:,} characters …]\n{text[-third:].strip()}"


def failures(picked: Picked) -> str:
    """Return the causes as HTML, most frequent first, each with its failed examples."""
    if not picked.failures:
        return '<p class="note">None.</p>'
    items = []
    for cause, number in picked.failures.most_common(_CAUSES):
        listed = picked.failed[cause]
        more = f"\n… and {number - len(listed):,} more in results.jsonl" if number > len(listed) else ""
        items.append(
            f"<details><summary>{escape(_cut(cause)) or '(no cause given)'}<span>{number:,} "
            f"example{'s' * (number != 1)}</span></summary>"
            f'<dl class="inside"><dd>{escape(chr(10).join(listed))}{more}</dd></dl></details>'
        )
    if len(picked.failures) > _CAUSES:
        items.append(f'<p class="note">… and {len(picked.failures) - _CAUSES:,} more causes in results.jsonl.</p>')
    return (
        '<p class="note">Failed examples count as 0. Run the same command again to retry only them.</p>'
        f'<div class="list">{"".join(items)}</div>'
    )
