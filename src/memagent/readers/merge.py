"""Merge notes that were taken at the same time into one memory.

The notes are merged in a tree. Each prompt has as many notes as fit in the tokens of a segment, and at least two.
"""

from __future__ import annotations

from collections.abc import Sequence

from memagent.core.budget import Budget
from memagent.core.prompts import NO_MEMORY, Prompts, request
from memagent.core.reading import together
from memagent.core.records import Segment
from memagent.core.segments import natural_cut
from memagent.errors import WindowOverflow
from memagent.readers.halving import Steps
from memagent.readers.quotes import groups_of

_GAP = "\n\n"


def merge(question: str, memory: str, notes: Sequence[str], like: Segment, budget: Budget, prompts: Prompts) -> Steps:
    """Return one memory with the contents of the notes. The model saw `memory` when it wrote each note.

    Args:
        notes: at least one, in the order of the document.
        like: a segment that has about as many tokens per character as the notes.
    """
    while len(notes) > 1:
        groups = list(groups_of(notes, like, budget.segment))
        alone = groups.pop()[0] if len(groups[-1]) == 1 else None
        notes = yield from together(_merge_all(question, memory, group, budget, prompts) for group in groups)
        if alone is not None:
            notes = [*notes, alone]
    return notes[0]


def _merge_all(question: str, memory: str, notes: Sequence[str], budget: Budget, prompts: Prompts) -> Steps:
    """Merge the memory and the notes in one request. If it does not fit, merge half of the notes, then the rest."""
    fields = {"prompt": question, "memory": memory, "notes": _GAP.join(notes)}
    try:
        written = str((yield request(prompts.merge, fields, budget.memory, None, memory, "merge")).text)
    except WindowOverflow:
        if len(notes) == 1 and len(notes[0]) < 2:
            raise
        for half in _halves(notes):
            memory = yield from _merge_all(question, memory, half, budget, prompts)
        return memory
    if written.strip():
        return written
    held = [] if memory == NO_MEMORY else [memory]
    return _GAP.join([*held, *notes])  # may be too long, but nothing is lost


def _halves(notes: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    if middle := len(notes) // 2:
        return notes[:middle], notes[middle:]
    [note] = notes
    middle = len(note) // 2
    cut = natural_cut(note, 0, middle * 9 // 10, middle)
    return [note[:cut]], [note[cut:]]
