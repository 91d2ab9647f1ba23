"""Every reader gives the right answer with citations, and resumes after a kill without paying twice."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from dying import read_with_kills
from keeper import FACTS, KEYS, QUESTION, perfect, text

from memagent import Answer, Budget, MemoryAgent, Request, ScriptedChat, text_document
from memagent.errors import WindowOverflow
from memagent.readers import READERS, find_reader, memory_of
from memagent.runs.run import FILE, Run

TEXT = text()
BUDGET = Budget(segment=1200, memory=300, answer=60)

every_reader = pytest.mark.parametrize("reader", READERS)


def ask(reader: str, reply: Callable[[Request], str] = perfect, run: Path | None = None) -> Answer:
    chat = ScriptedChat(reply)
    with MemoryAgent(chat, budget=BUDGET, reader=reader, fsync=False) as agent, text_document(TEXT) as document:
        return agent.ask(QUESTION, document, run=run)


def told(run: Path) -> list[tuple[str, str, int]]:
    """Return the prompts, replies and waves of a run, sorted, because the order within a wave varies."""
    turns = Run(run).trace.turns
    return sorted((turn.request.messages[0].content, turn.completion.text, turn.wave) for turn in turns)


@every_reader
def test_the_answer_is_right_and_cited(reader: str) -> None:
    answer = ask(reader)
    assert answer.text == KEYS
    assert sorted(cited.quote for cited in answer.citations) == sorted(FACTS)
    for cited in answer.citations:
        assert TEXT[cited.start : cited.end] == cited.quote
        read = answer.trace.turns[cited.turn].request.segment
        assert read is not None
        assert read.start <= cited.start < cited.end <= read.end


@every_reader
def test_what_is_not_read_is_named(reader: str) -> None:
    answer = ask(reader)
    shown = {turn.request.segment.origin for turn in answer.trace.turns if turn.request.segment}
    left = len(TEXT) - sum(end - start for start, end in shown)
    assert answer.segments == len(shown)
    warnings = [
        f"{left:,} of {len(TEXT):,} characters ({left / len(TEXT):.1%}) were not read: the reader stopped early."
    ]
    assert list(answer.warnings) == (warnings if left else [])
    assert bool(left) == ("search" in reader or "exit" in reader)


@every_reader
def test_a_reading_that_is_killed_again_and_again_pays_for_nothing_twice(reader: str, tmp_path: Path) -> None:
    expected = ask(reader, run=tmp_path / "whole")
    answer, replied = read_with_kills(lambda reply: ask(reader, reply, tmp_path / "killed"), perfect, random.Random(3))
    assert answer.text == KEYS
    assert replied.total() == len(expected.trace.turns)
    assert told(tmp_path / "killed") == told(tmp_path / "whole")
    assert answer.citations == expected.citations


@every_reader
def test_a_journal_that_is_cut_anywhere_goes_on_to_the_same_end(reader: str, tmp_path: Path) -> None:
    ask(reader, run=tmp_path)
    expected = told(tmp_path)
    whole = (tmp_path / FILE).read_bytes()
    draw = random.Random(0)
    for size in (0, 1, len(whole) - 1, *(draw.randrange(len(whole)) for _ in range(5))):
        (tmp_path / FILE).write_bytes(whole[:size])
        assert ask(reader, run=tmp_path).text == KEYS
        assert told(tmp_path) == expected


@every_reader
def test_segments_that_do_not_fit_are_read_in_halves(reader: str) -> None:
    def small(asked: Request) -> str:
        if asked.segment and len(asked.segment.text) > 700:
            raise WindowOverflow("The prompt is too long.")
        return perfect(asked)

    answer = ask(reader, small)
    assert answer.text == KEYS
    assert any("had to be read in halves" in warning for warning in answer.warnings)


@every_reader
def test_a_model_that_replies_nonsense_ends_every_reading(reader: str) -> None:
    answer = ask(reader, lambda asked: "perhaps, who knows")
    assert answer.text == answer.trace.answer == "perhaps, who knows"
    assert len(answer.trace.turns) < 100


@every_reader
def test_the_last_turn_is_the_answer_even_if_the_model_never_has_enough(reader: str) -> None:
    def unsure(asked: Request) -> str:
        if asked.kind in ("answer", "try"):
            return "\\boxed{The text does not say}"
        return "NO: another lighthouse" if asked.kind == "check" else perfect(asked)

    answer = ask(reader, unsure)
    assert answer.trace.turns[-1].request.kind == "answer"
    assert answer.text == "The text does not say"
    assert "exit" not in reader or not answer.warnings  # all was read


@every_reader
@pytest.mark.parametrize(("content", "expected"), [("-", "The text does not say"), ("\n".join(FACTS), KEYS)])
def test_a_text_of_one_segment(reader: str, content: str, expected: str) -> None:
    chat = ScriptedChat(perfect)
    with MemoryAgent(chat, budget=BUDGET, reader=reader) as agent, text_document(content) as document:
        assert agent.ask(QUESTION, document).text == expected


def test_a_model_that_was_trained_to_collect_searches_with_a_memory_of_quotes() -> None:
    assert find_reader("search", "collect") is READERS["search_collect"]
    assert find_reader("search_extract", "collect") is READERS["search_extract"]
    assert find_reader("gated", "extract") is READERS["gated"]
    assert find_reader("exit", "extract") is READERS["exit_extract"]
    assert find_reader("search") is READERS["search_gated"]
    assert find_reader("search", "search_collect") is READERS["search_collect"]
    assert find_reader("overwrite", "collect") is READERS["overwrite"]


def test_every_reader_keeps_the_memory_of_one_that_reads_in_order() -> None:
    kept = {name: memory_of(name) for name in READERS}
    assert Counter(kept.values()) == {"overwrite": 1, "gated": 5, "extract": 5, "collect": 5}
    assert (kept["reread_extract"], kept["exit_collect"], memory_of("search")) == ("extract", "collect", "gated")
