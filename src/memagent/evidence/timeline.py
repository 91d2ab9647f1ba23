"""What each turn of a reading changed in the memory, word by word; and its picture for the terminal."""

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
"""A word with the white space before it; what is left at the end is white space alone."""

_STYLES: dict[Op, str] = {"same": "", "added": "green", "removed": "red strike"}
_MARKS: dict[Op, str] = {"same": "{}", "added": "{{+{}+}}", "removed": "[-{}-]"}
_STEADY = 2  # words in a row that must stay to be called the same: a lone "the" is a coincidence
_AROUND = 60  # characters of unchanged text shown beside a change


@dataclass(frozen=True)
class Change:
    """What one turn did: the memory it was given, as a difference to the one it wrote.

    The texts of "same" and "added" join to the new memory, those of "same" and "removed" to the old one.
    """

    turn: int
    kind: str
    """What the turn was for."""
    span: tuple[int, int] | None
    """Where the piece of the document that it read starts and ends; None where it read none."""
    parts: tuple[tuple[Op, str], ...]
    finish: Finish
    usage: Usage

    @cached_property
    def added(self) -> int:
        """Words that are new in the memory."""
        return self._count("added")

    @cached_property
    def removed(self) -> int:
        return self._count("removed")

    @cached_property
    def kept(self) -> int:
        return self._count("same")

    @property
    def share(self) -> float:
        """How much of the memory is another than before: 0 nothing, 1 all of it."""
        changed = self.added + self.removed
        return changed / (changed + self.kept) if changed else 0.0

    def _count(self, wanted: Op) -> int:
        return sum(len(text.split()) for op, text in self.parts if op == wanted)


def changes(trace: Trace) -> list[Change]:
    """A Change for every turn before the answer. The memory before the first is empty."""
    found, before = [], ""
    for turn in trace.memories:
        found.append(changed(before, turn))
        before = turn.memory
    return found


def changed(before: str, turn: Turn) -> Change:
    """What a turn made of the memory `before` it."""
    request, completion = turn.request, turn.completion
    span = (request.segment.start, request.segment.end) if request.segment else None
    parts = tuple(_difference(before, turn.memory))
    return Change(turn.index, request.kind, span, parts, completion.finish, completion.usage)


def _difference(old: str, new: str) -> Iterator[tuple[Op, str]]:
    """The steps from `old` to `new`, what was removed before what came in its place."""
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
    """Stretches of `a` and `b` in step, alternately the same and not: a's start and end, b's, and which it is."""
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
    """The blocks without those so short that they may be a coincidence, save at the beginning and at the end."""
    return [(i, j, n) for i, j, n in blocks if n >= _STEADY or (i, j) == (0, 0) or (i + n, j + n) == (a, b)]


def elided(parts: Iterable[tuple[Op, str]], around: int = _AROUND) -> Iterator[tuple[Op, str]]:
    """The parts, with all but `around` characters beside a change taken out of long unchanged stretches: "…"."""
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
    """One Change for the terminal: added green, removed red and struck through, long unchanged stretches elided.

    Without colour, as in a file: {+added+} and [-removed-].
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
