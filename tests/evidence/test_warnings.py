"""Warnings about losses in a reading, and about doubtful answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from memagent import Budget, MemoryAgent, text_document
from memagent.core.records import Completion, Finish, Request, Segment, Trace, Turn
from memagent.evidence.warnings import doubts, losses, unread
from memagent.models.scripted import ScriptedChat
from memagent.runs.run import Run


def turn(number: int, start: int, text: str, finish: Finish = "stop", whole: tuple[int, int] | None = None) -> Turn:
    segment = Segment(start, start + 10, "x" * 10, 3, whole)
    return Turn(number, Request((), 10, segment, "before"), Completion(text, finish), text)


def answered(number: int, text: str, finish: Finish = "stop") -> Turn:
    return Turn(number, Request((), 10, kind="answer"), Completion(text, finish), "b")


def lost(question: str, turns: list[Turn]) -> list[str]:
    trace = Trace(question, turns)
    return losses(trace, trace.segments)


def test_a_reading_without_losses_says_nothing() -> None:
    assert lost("?", [turn(0, 0, "a"), turn(1, 10, "b"), answered(2, "c")]) == []


def test_what_was_lost_is_said_with_the_numbers_of_the_segments() -> None:
    turns = [
        turn(0, 0, "a", whole=(0, 20)),
        turn(1, 10, " "),
        turn(2, 20, "b", "length"),
        turn(3, 30, "", "length"),
        answered(4, " ", "length"),
    ]
    assert lost("?", turns) == [
        "Segment 1 did not fit the model's context window and had to be read in halves.",
        "The model gave an empty reply to segments 2 and 4; the memory stayed as it was.",
        "The reply to segment 3 was cut by --memory-tokens, so facts may be missing.",
        "The answer was cut by --answer-tokens.",
        "The model gave an empty answer.",
    ]


def test_what_a_reader_with_a_gate_or_a_merge_lost_is_said() -> None:
    def unchanged(number: int, text: str) -> Turn:
        segment = Segment(10 * number, 10 * number + 10, "x" * 10, 3)
        return Turn(number, Request((), 10, segment, "before"), Completion(text), "before")

    merge, check = (Turn(4, Request((), 10, kind=kind), Completion("m", "length"), "b") for kind in ("merge", "check"))
    turns = [
        unchanged(0, "NO CHANGE"),
        unchanged(1, "Updated memory: no change."),
        unchanged(2, "NO CHANGE\nThe keeper hid key 17."),
        merge,
        merge,
        check,
        answered(5, "c"),
    ]
    assert lost("?", turns) == [
        "The model replied NO CHANGE to segment 3 but also wrote other text, which was not kept.",
        "Merged notes were cut 2 times by --memory-tokens, so facts may be missing.",
    ]


def test_what_was_not_read_is_said() -> None:
    assert unread(30, 1000) == ["970 of 1,000 characters (97.0%) were not read: the reader stopped early."]
    assert unread(1000, 1000) == []


def test_many_segments_are_counted() -> None:
    turns = [turn(number, 10 * number, "a", "length") for number in range(1200)]
    assert lost("?", turns) == ["The reply to 1,200 segments was cut by --memory-tokens, so facts may be missing."]


EMPTY = "The memory is empty, so the answer is not based on the document."
NO_PASSAGE = "No passage in the document was found to support this answer: check it yourself."
NOT_HELD = "The words of the answer are not in the memory: check the answer yourself."


@pytest.mark.parametrize(
    ("answer", "memory", "cited", "said"),
    [
        ("Jonas Hofmann", "The tenant is Jonas Hofmann.", True, []),
        ("Jonas Hofmann", "The tenant is Jonas Hofmann.", False, [NO_PASSAGE]),
        ("Peter Pan", "The tenant is Jonas Hofmann.", True, [NOT_HELD]),
        ("Peter Pan", "The tenant is Jonas Hofmann.", False, [NO_PASSAGE, NOT_HELD]),
        ("yes", "The tenant is Jonas Hofmann.", True, []),
        ("The text does not say.", "The tenant is Jonas Hofmann.", True, []),
        ("Peter Pan", "No previous memory", True, [EMPTY]),
        ("The text does not say.", "No previous memory", False, []),
        ("", "The tenant is Jonas Hofmann.", False, []),
        ("2900", "The rent is 2,900 euros.", True, []),
        ("No previous memory", "No previous memory", True, [EMPTY]),
    ],
)
def test_doubts(answer: str, memory: str, cited: bool, said: list[str]) -> None:
    assert doubts(answer, memory, cited) == said


def test_a_reply_of_nothing_keeps_the_memory_and_is_told_everywhere(tmp_path: Path) -> None:
    document = "The first code is 11. " * 30 + "The second code is 22. " * 30
    replies = ["The first code is 11.", "", "\\boxed{11}"]
    chat = ScriptedChat(replies)
    with MemoryAgent(chat, budget=Budget(segment=700)) as agent, text_document(document, "codes") as text:
        answer = agent.ask("Which codes?", text, run=tmp_path / "run")
    assert answer.memory == "The first code is 11."
    assert "The first code is 11." in chat.requests[-1].messages[0].content
    assert answer.warnings == ("The model gave an empty reply to segment 2; the memory stayed as it was.",)
    end = json.loads((tmp_path / "run" / "journal.jsonl").read_text().splitlines()[-1])["end"]
    assert end["warnings"] == list(answer.warnings)
    assert Run(tmp_path / "run").trace.memory == answer.memory
