"""Notes are merged in a tree, and nothing is lost if a merge does not fit or its reply is empty."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from memagent.core.budget import Budget
from memagent.core.prompts import NO_MEMORY, Prompts
from memagent.core.reading import Underway
from memagent.core.records import Completion, Request, Segment
from memagent.errors import WindowOverflow
from memagent.readers.merge import merge

LIKE = Segment(0, 10, "ten letter", 10)  # a token for each character
PROMPTS = Prompts(merge="{memory}|{notes}")


def merging(
    notes: Sequence[str], memory: str = NO_MEMORY, window: int = 10_000, segment: int = 50
) -> tuple[str, list[int]]:
    """Return the merged memory and the number of requests of each wave. The model copies only the capital letters."""
    under = Underway(merge("why", memory, notes, LIKE, Budget(segment=segment, memory=20), PROMPTS))
    waves = []
    while under.wanted:
        waves.append(len(under.wanted))
        for place, request in list(under.wanted.items()):
            if len(request.messages[0].content) > window:
                under.overflow(WindowOverflow("too long"), place)
            else:
                under.take(Completion(capitals(request)), place)
    return under.answer, waves


def capitals(request: Request) -> str:
    return "".join(letter for letter in request.messages[0].content if letter.isupper() and letter != "N")


def test_one_note_is_the_memory() -> None:
    assert merging(["A"]) == ("A", [])


def test_as_many_notes_as_fit_the_segment_are_merged_at_once() -> None:
    notes = [f"{letter}........." for letter in "ABCDEFGH"]  # eleven tokens each, separator included
    assert merging(notes) == ("ABCDEFGH", [2, 1])
    assert merging(notes[:5]) == ("ABCDE", [1, 1])  # four, and one that waits for the next level
    assert merging(notes, segment=5) == ("ABCDEFGH", [4, 2, 1])  # never fewer than two


def test_the_memory_is_shown_with_the_notes() -> None:
    assert merging(["A", "B"], memory="M") == ("MAB", [1])


def test_notes_that_do_not_fit_are_merged_half_after_half() -> None:
    notes = [f"{letter}{'.' * 30}" for letter in "ABCD"]
    assert merging(notes, window=60, segment=500) == ("ABCD", [1, 1, 1, 1, 1, 1, 1])
    assert merging([f"A{'.' * 60}B", "C"], window=60) == ("ABC", [1, 1, 1, 1, 1])


def test_a_merge_that_cannot_be_made_shorter_ends_the_reading() -> None:
    with pytest.raises(WindowOverflow, match="too long"):
        merging(["A", "B"], window=5)


def test_if_the_model_says_nothing_all_notes_are_kept() -> None:
    under = Underway(merge("why", "M", ["A", "B"], LIKE, Budget(), PROMPTS))
    under.take(Completion(" \n"))
    assert under.answer == "M\n\nA\n\nB"
    under = Underway(merge("why", NO_MEMORY, ["A", "B"], LIKE, Budget(), PROMPTS))
    under.take(Completion(""))
    assert under.answer == "A\n\nB"
