"""Changes that each turn of a reading made to the memory, word by word, and their picture in the terminal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from rapidfuzz.distance import Indel
from rich.console import Console
from rich.text import Text

from memagent.core.records import Finish, Trace, Turn, Usage

Op = Literal["same", "added", "removed"]

_WORD = re.compile(r"\s*\S+|\s+")
"""A word with the white space before it, or white space alone at the end."""

_STYLES: dict[Op, str] = {"same": "", "added": "green", "removed": "red strike"}
_MARKS: dict[Op, str] = {"same": "{}", "added": "{{+{}+}}", "removed": "[-{}-]"}
_STEADY = 2  # least words in a row that count as unchanged: a lone "the" is a coincidence
_AROUND = 60  # characters of unchanged text shown beside a change


@dataclass(frozen=True)
class Change:
    """The difference between the memory that a turn was given and the memory after it.

    The texts of "same" and "added" join to the new memory, those of "same" and "removed" to the old one.
    """

    turn: int
    kind: str
    """Purpose of the turn's request."""
    span: tuple[int, int] | None
    """Start and end of the piece of the document that the turn read; None if it read none."""
    parts: tuple[tuple[Op, str], ...]
    finish: Finish
    usage: Usage

    @cached_property
    def added(self) -> int:
        """Number of words that are new in the memory."""
        return self._count("added")

    @cached_property
    def removed(self) -> int:
        return self._count("removed")

    @cached_property
    def kept(self) -> int:
        return self._count("same")

    @property
    def share(self) -> float:
        """Share of the memory that changed: 0 for nothing, 1 for all of it."""
        changed = self.added + self.removed
        return changed / (changed + self.kept) if changed else 0.0

    def _count(self, wanted: Op) -> int:
        return sum(len(text.split()) for op, text in self.parts if op == wanted)


def changes(trace: Trace) -> list[Change]:
    """Return a Change for every turn before the answer. The memory before the first turn is empty."""
    found, before = [], ""
    for turn in trace.memories:
        found.append(changed(before, turn))
        before = turn.memory
    return found


def changed(before: str, turn: Turn) -> Change:
    """Return the Change that a turn made to the memory `before` it."""
    request, completion = turn.request, turn.completion
    span = (request.segment.start, request.segment.end) if request.segment else None
    parts = tuple(_difference(before, turn.memory))
    return Change(turn.index, request.kind, span, parts, completion.finish, completion.usage)


def _difference(old: str, new: str) -> Iterator[tuple[Op, str]]:
    """Yield the steps from `old` to `new`, each removed text before the text that replaces it."""
    if old == new:
        if new:
            yield "same", new
        return
    a, b = _WORD.findall(old), _WORD.findall(new)
    for a_start, a_end, b_start, b_end, same in _blocks(a, b):
        if same:
            yield "same", "".join(b[b_start:b_end])
            continue
        if a_start < a_end:
            yield "removed", "".join(a[a_start:a_end])
        if b_start < b_end:
            yield "added", "".join(b[b_start:b_end])


def _blocks(a: list[str], b: list[str]) -> Iterator[tuple[int, int, int, int, bool]]:
    """Yield stretches of `a` and `b`, alternately the same and not: a's start and end, b's, and whether the same."""
    same = [(op.src_start, op.dest_start, op.src_end - op.src_start) for op in Indel.opcodes(a, b) if op.tag == "equal"]
    i = j = 0
    for i_next, j_next, n in _steady(same, len(a), len(b)):
        if i < i_next or j < j_next:
            yield i, i_next, j, j_next, False
        yield i_next, i_next + n, j_next, j_next + n, True
        i, j = i_next + n, j_next + n
    if i < len(a) or j < len(b):
        yield i, len(a), j, len(b), False


def _steady(blocks: list[tuple[int, int, int]], a: int, b: int) -> list[tuple[int, int, int]]:
    """Drop blocks so short that they may be a coincidence, except at the beginning and the end."""
    return [(i, j, n) for i, j, n in blocks if n >= _STEADY or (i, j) == (0, 0) or (i + n, j + n) == (a, b)]


def elided(parts: Iterable[tuple[Op, str]], around: int = _AROUND) -> Iterator[tuple[Op, str]]:
    """Yield the parts, with long unchanged stretches cut to "…" and `around` characters next to each change."""
    parts = list(parts)
    for place, (op, text) in enumerate(parts):
        head = around if place > 0 else 0
        tail = around if place + 1 < len(parts) else 0
        if op != "same" or len(text) <= head + tail + around:
            yield op, text
            continue
        start = "".join(text[:head].rsplit(None, 1)[:1]) if head else ""
        end = "".join(text[-tail:].split(None, 1)[-1:]) if tail else ""
        yield "same", (start + " … " + end).lstrip() if end else start + " …"


def picture(change: Change, colour: bool = True) -> Text:
    """Return one Change for the terminal: added green, removed red and struck through, long unchanged stretches elided.

    Without colour, as in a file, changes look like {+added+} and [-removed-].
    """
    text = Text()
    text.append(f"{change.turn + 1:>4}", style="bold")
    text.append(f"  characters {change.span[0]:,}–{change.span[1]:,}" if change.span else "", style="dim")
    text.append(f"  {change.kind}" if change.kind != "memorize" else "", style="dim")
    text.append(f"  +{change.added}", style="green")
    text.append(f" −{change.removed}", style="red")
    text.append(f" ={change.kept} words", style="dim")
    if change.usage.total_tokens:
        text.append(f"  {change.usage.prompt_tokens:,} → {change.usage.completion_tokens:,} tokens", style="dim")
    if change.usage.seconds:
        text.append(f"  {change.usage.seconds:.1f} s", style="dim")
    if change.finish == "length":
        text.append("  cut by the limit", style="yellow")
    text.append("\n")
    if change.added or change.removed:
        for op, part in elided(change.parts):
            text.append(part if colour else _MARKS[op].format(part), style=_STYLES[op])
    else:
        text.append("unchanged" if change.kept else "still empty", style="dim")
    text.append("\n")
    return text


def render(trace: Trace, console: Console) -> None:
    """Print the whole timeline."""
    for change in changes(trace):
        console.print(picture(change, colour=console.color_system is not None), soft_wrap=not console.is_terminal)
