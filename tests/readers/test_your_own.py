"""A custom reader is driven, killed, resumed, shown and scored without a change anywhere else.

`tests/train/test_own_reader.py` trains it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from dying import read_with_kills
from threes import threes

from memagent import Answer, Budget, MemoryAgent, Request, ScriptedChat, text_document
from memagent.bench.tracking import track
from memagent.core.records import Turn
from memagent.errors import WindowOverflow
from memagent.evidence.citations import cite
from memagent.evidence.page import page
from memagent.evidence.timeline import changes
from memagent.runs.run import FILE, Run
from memagent.tasks.example import Example, Fact

SENTENCES = [f"The keeper of lighthouse {number} hides the key {number * 7919}." for number in range(60)]
TEXT = "\n\n".join(SENTENCES)
QUESTION = "Which keys are hidden in lighthouses 3 and 44?"
BUDGET = Budget(segment=300, memory=300, answer=60)
KEYS = f"{3 * 7919}, {44 * 7919}"


def model(asked: Request) -> str:
    """Note the keys that are asked for, and merge notes with the memory by keeping their lines."""
    text = asked.messages[0].content
    if asked.kind == "answer":
        return "\\boxed{" + ", ".join(re.findall(r"key (\d+)", text)) + "}"
    where = asked.segment.text if asked.segment else text
    return "\n".join(dict.fromkeys(re.findall(r"The keeper of lighthouse (?:3|44) hides.*", where))) or "None."


def ask(reply: Callable[[Request], str], run: Path | None = None) -> Answer:
    chat = ScriptedChat(reply)
    with MemoryAgent(chat, budget=BUDGET, reader=threes, fsync=False) as agent, text_document(TEXT) as document:
        return agent.ask(QUESTION, document, run=run)


def told(turns: list[Turn]) -> list[tuple[Request, str]]:
    """Return requests and replies in an order that does not depend on the order within a wave."""
    return sorted(((turn.request, turn.completion.text) for turn in turns), key=str)


def test_it_is_driven_and_cited() -> None:
    answer = ask(model)
    assert answer.text == KEYS
    assert sorted(cited.quote for cited in answer.citations) == [SENTENCES[3], SENTENCES[44]]
    kinds = [turn.request.kind for turn in answer.trace.turns]
    assert kinds[:5] == ["memorize"] * 3 + ["merge", "memorize"]
    assert kinds[-2:] == ["merge", "answer"]


def test_it_is_killed_and_resumed_and_nothing_is_paid_for_twice(tmp_path: Path) -> None:
    expected = ask(model)
    answer, replied = read_with_kills(lambda reply: ask(reply, tmp_path), model, random.Random(3))
    assert answer.text == KEYS
    assert set(replied.values()) == {1}
    assert told(list(answer.trace.turns)) == told(list(expected.trace.turns))
    assert answer.citations == expected.citations


def test_a_journal_cut_anywhere_goes_on_to_the_same_end(tmp_path: Path) -> None:
    expected = told(list(ask(model, tmp_path).trace.turns))
    whole = (tmp_path / FILE).read_bytes()
    draw = random.Random(0)
    for size in (0, 1, len(whole) - 1, *(draw.randrange(len(whole)) for _ in range(40))):
        (tmp_path / FILE).write_bytes(whole[:size])
        answer = ask(model, tmp_path)
        assert answer.text == KEYS
        assert told(list(Run(tmp_path).trace.turns)) == expected


def test_an_overflow_in_a_wave_stops_the_run_and_keeps_what_was_paid_for(tmp_path: Path) -> None:
    def small(asked: Request) -> str:
        if asked.segment and asked.segment.start > 0:
            raise WindowOverflow("too long")
        return model(asked)

    with pytest.raises(WindowOverflow):
        ask(small, tmp_path)
    assert [turn.place for turn in Run(tmp_path).trace.turns] == [0]
    assert ask(model, tmp_path).text == KEYS


def test_it_is_shown(tmp_path: Path) -> None:
    ask(model, tmp_path)
    trace = Run(tmp_path).trace
    timeline = changes(trace)
    assert [change.kind for change in timeline[:4]] == ["memorize"] * 3 + ["merge"]
    assert timeline[3].added > 0
    html = page(trace, cite(trace), title="text")
    assert html.count('<p class="where">merge') == sum(turn.request.kind == "merge" for turn in trace.turns)
    assert SENTENCES[44] in html


def test_it_is_scored() -> None:
    facts = tuple(
        Fact(
            SENTENCES[number],
            str(number * 7919),
            start := TEXT.index(SENTENCES[number]),
            start + len(SENTENCES[number]),
        )
        for number in (3, 44)
    )
    example = Example(TEXT, QUESTION, tuple(KEYS.split(", ")), facts, "{context}", 0)

    def forgetful(asked: Request) -> str:
        return model(asked) if asked.kind != "merge" else model(asked).replace(SENTENCES[3], "")

    kept, lost = ask(model).trace, ask(forgetful).trace
    assert [each.state for each in track(example, kept, KEYS, solved=True)] == ["answered", "answered"]
    assert [each.state for each in track(example, lost, "", solved=False)] == ["never written", "not answered"]
