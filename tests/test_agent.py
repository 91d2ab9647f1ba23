from __future__ import annotations

import asyncio
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from memagent import (
    Answer,
    Budget,
    Completion,
    Limits,
    MemoryAgent,
    Request,
    ScriptedChat,
    Segment,
    Turn,
    Watch,
    segments,
    text_document,
)
from memagent.errors import BudgetError, DocumentError, LimitReached, ModelError, RunError, UsageError, WindowOverflow
from memagent.models.chat import OnText
from memagent.runs.run import FILE, Run

TEXT = "".join(f"Sentence number {n} says that key{n} is {n * n}.\n" for n in range(200))
BUDGET = Budget(segment=700, memory=300, answer=50)


def gather(request: Request) -> str:
    """Reply like a model that remembers the squares it saw, and answers with the last one."""
    [message] = request.messages
    memory = message.content.split("<memory>\n")[1].split("\n</memory>")[0]
    if request.segment is None:
        return f"It is \\boxed{{{memory.rsplit(maxsplit=1)[-1]}}}."
    found = re.findall(r"key(\d+) is (\d+)", request.segment.text)
    lines = [line for line in memory.splitlines() if line.startswith("key")]
    return "\n".join([*lines[-3:], *(f"key{key} is {square}" for key, square in found[-2:])])


def quote(request: Request) -> str:
    """Reply like a model that notes a section's last two sentences, one per look, and always makes one up."""
    [message] = request.messages
    memory = message.content.split("<memory>\n")[1].split("\n</memory>")[0]
    if request.segment is None:
        return f"It is \\boxed{{{memory.rsplit(maxsplit=1)[-1].rstrip('.')}}}."
    lines = [line for line in memory.splitlines() if line in request.segment.text]
    new = [each for each in request.segment.text.splitlines()[-2:] if each not in lines][:1]
    return "\n".join([*lines, *new, "Sentence number 7 says that key7 is 50."])


class Dies(BaseException):
    """Stands for a kill: no code catches it."""


def dying(
    after: int, error: type[BaseException] = Dies, reader: Callable[[Request], str] = gather
) -> Callable[[Request], str]:
    calls = 0

    def reply(request: Request) -> str:
        nonlocal calls
        calls += 1
        if calls > after:
            raise error
        return reader(request)

    return reply


def ask(chat: ScriptedChat, *questions: str, reader: str = "overwrite", **options: Any) -> list[Answer]:
    with MemoryAgent(chat, budget=BUDGET, reader=reader, fsync=False) as agent, text_document(TEXT) as document:
        return agent.ask_many(questions or ["What is key199?"], document, **options)


def test_an_answer_has_all_that_led_to_it() -> None:
    turns: list[Turn] = []
    chat = ScriptedChat(gather)
    [answer] = ask(chat, watch=Watch(on_turn=lambda question, turn: turns.append(turn)))
    assert answer.text == "39601"
    assert answer.memory.endswith("key199 is 39601")
    assert "".join(turn.request.segment.text for turn in answer.trace.memories if turn.request.segment) == TEXT
    assert list(answer.trace.turns) == turns
    assert [turn.request for turn in turns] == chat.requests
    assert answer.usage == answer.trace.usage
    assert answer.usage.prompt_tokens == sum(len(r.messages[0].content.encode()) for r in chat.requests)
    assert answer.run is None
    [place] = [place for place in answer.citations if "39601" in place.quote]
    assert TEXT[place.start : place.end] == place.quote == "Sentence number 199 says that key199 is 39601."
    assert place.document == "text"
    assert place.segment == len(turns) - 2


def test_sync_async_and_stream_give_the_same() -> None:
    async def both() -> tuple[Answer, list[Turn | Answer]]:
        with text_document(TEXT) as document:
            agent = MemoryAgent(ScriptedChat(gather), budget=BUDGET)
            one = await agent.ask_async("What is key199?", document)
            return one, [each async for each in agent.stream("What is key199?", document)]

    [expected] = ask(ScriptedChat(gather))
    one, streamed = asyncio.run(both())
    assert (one.text, one.memory, one.citations) == (expected.text, expected.memory, expected.citations)
    *turns, last = streamed
    assert isinstance(last, Answer)
    assert last.text == expected.text
    texts = [turn.completion.text for turn in expected.trace.turns]
    assert [turn.completion.text for turn in turns if isinstance(turn, Turn)] == texts


def test_a_memory_of_quotes_holds_what_the_text_says_and_the_section_is_read_again_while_it_gives_some() -> None:
    [answer] = ask(ScriptedChat(quote), reader="extract")
    assert answer.text == "39601"
    assert answer.memory.splitlines()[-2:] == [f"Sentence number {n} says that key{n} is {n * n}." for n in (198, 199)]
    turns = answer.trace.turns
    assert all("key7 is 50" in turn.completion.text for turn in turns[:-1])
    assert not any("key7 is 50" in turn.memory for turn in turns)
    last = answer.segments - 1
    assert answer.trace.segments == [number for number in range(last + 1) for _ in range(3)]
    [segments] = {tuple(dict.fromkeys(turn.request.segment for turn in answer.trace.memories))}
    assert "".join(segment.text for segment in segments if segment) == TEXT
    [place] = [place for place in answer.citations if "39601" in place.quote]
    assert TEXT[place.start : place.end] == place.quote == "Sentence number 199 says that key199 is 39601."
    assert (place.segment, place.turn) == (last, len(turns) - 3)


def pick(request: Request) -> str:
    """Reply like a model that collects sentences, and keeps the last two when the memory is full."""
    if request.kind == "choose":
        many = len((request.memory or "").splitlines())
        return f"{many - 1}, {many}"
    if request.segment is None:
        return quote(request)
    found = [f"{text}." for text in request.segment.text.strip().split(".") if text.endswith(("1", "4", "9"))]
    return "\n".join(line.strip() for line in found) or "NONE"


def test_a_full_memory_is_chosen_from_and_a_journal_holds_it(tmp_path: Path) -> None:
    [answer] = ask(ScriptedChat(pick), runs=[tmp_path], reader="collect")
    kinds = [turn.request.kind for turn in answer.trace.turns]
    assert kinds.count("choose") > 2
    assert kinds[-1] == "answer"
    turns = Run(tmp_path).trace.turns
    assert [(turn.request, turn.memory) for turn in turns] == [
        (turn.request, turn.memory) for turn in answer.trace.turns
    ]
    chosen = [turn for turn in turns if turn.request.kind == "choose"]
    assert all(turn.memory.splitlines() == turn.request.memory.splitlines()[-2:] for turn in chosen)


def told(turns: Sequence[Turn]) -> list[tuple[Request, str, str]]:
    """Return the turns without their times."""
    return [(turn.request, turn.completion.text, turn.memory) for turn in turns]


READERS: list[tuple[str, Callable[[Request], str]]] = [("overwrite", gather), ("extract", quote), ("collect", pick)]


@pytest.mark.parametrize(("reader", "model"), READERS)
def test_the_model_is_called_once_for_each_turn_however_often_the_run_dies(
    tmp_path: Path, reader: str, model: Callable[[Request], str]
) -> None:
    [expected] = ask(ScriptedChat(model), reader=reader)
    calls: Counter[Request] = Counter()
    for _ in range(100):
        chat = ScriptedChat(dying(3, reader=model))
        try:
            [answer] = ask(chat, runs=[tmp_path], reader=reader)
        except Dies:
            continue
        finally:
            calls.update(chat.requests[:3])
        break
    assert answer.text == expected.text
    assert list(calls.values()) == [1] * len(expected.trace.turns)
    assert told(answer.trace.turns) == told(expected.trace.turns)
    assert answer.citations == expected.citations
    finished = ask(ScriptedChat([]), runs=[tmp_path], reader=reader)  # no call at all
    assert finished[0].text == expected.text


@pytest.mark.parametrize(("reader", "model"), READERS)
def test_a_journal_cut_anywhere_goes_on_to_the_same_end(
    tmp_path: Path, reader: str, model: Callable[[Request], str]
) -> None:
    [expected] = ask(ScriptedChat(model), reader=reader)
    ask(ScriptedChat(model), runs=[tmp_path], reader=reader)
    whole = (tmp_path / FILE).read_bytes()
    draw = random.Random(0)
    for size in (0, 1, len(whole) - 1, *(draw.randrange(len(whole)) for _ in range(20))):
        (tmp_path / FILE).write_bytes(whole[:size])
        [answer] = ask(ScriptedChat(model), runs=[tmp_path], reader=reader)
        assert list(Run(tmp_path).trace.turns)[-1].completion.text == expected.trace.answer
        segments = [turn.request.segment for turn in answer.trace.memories]
        assert segments == [turn.request.segment for turn in expected.trace.memories]


def test_a_look_that_overflows_leaves_a_run_that_can_be_resumed(tmp_path: Path) -> None:
    def reply(request: Request) -> str:
        if request.memory and request.segment and request.memory.splitlines()[-1] in request.segment.text:
            raise WindowOverflow
        if request.segment and request.segment.start == 0 and len(request.segment.text) > 400:
            raise WindowOverflow  # the first section is read as halves
        return quote(request)

    [expected] = ask(ScriptedChat(reply), reader="extract")
    assert sorted(set(expected.trace.segments)) == list(range(expected.segments))
    for after in range(1, len(expected.trace.turns) * 2):
        run = tmp_path / str(after)
        with suppress(Dies):
            ask(ScriptedChat(dying(after, reader=reply)), runs=[run], reader="extract")
        [answer] = ask(ScriptedChat(reply), runs=[run], reader="extract")
        assert told(answer.trace.turns) == told(expected.trace.turns)


@pytest.mark.parametrize("lines", [5, 8, None])
def test_a_run_that_was_read_otherwise_is_not_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: int | None
) -> None:
    ask(ScriptedChat(quote), runs=[tmp_path], reader="extract")
    whole = (tmp_path / FILE).read_bytes().splitlines(keepends=True)
    (tmp_path / FILE).write_bytes(b"".join(whole[:lines]))
    monkeypatch.setattr("memagent.readers.extract.LOOKS", 2)
    with pytest.raises(RunError, match="a version that reads differently"):
        ask(ScriptedChat(quote), runs=[tmp_path], reader="extract")


@pytest.mark.parametrize(
    ("reader", "model", "turns"),
    [("overwrite", gather, 1), ("extract", quote, 3), ("extract", lambda request: "No key opens 31415.", 3)],
    ids=["written", "quoted", "copied too badly, and read in halves"],
)
def test_a_turn_is_kept_when_the_document_fails_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: str, model: Callable[[Request], str], turns: int
) -> None:
    [expected] = ask(ScriptedChat(model), reader=reader)

    def torn(*given: Any) -> Iterator[Segment]:
        yield next(segments(*given))
        raise DocumentError("The document is gone.")

    with monkeypatch.context() as patched:
        patched.setattr("memagent.runs.resume.segments", torn)
        with pytest.raises(DocumentError):
            ask(ScriptedChat(model), runs=[tmp_path], reader=reader)
    assert len(Run(tmp_path).trace.turns) == turns
    for after in (2, 100):
        with suppress(Dies):
            [answer] = ask(ScriptedChat(dying(after, reader=model)), runs=[tmp_path], reader=reader)
    assert answer.text == expected.text
    texts = [turn.completion.text for turn in expected.trace.turns]
    assert [turn.completion.text for turn in answer.trace.turns] == texts
    assert [turn.memory for turn in answer.trace.turns] == [turn.memory for turn in expected.trace.turns]
    assert [turn.memory for turn in Run(tmp_path).trace.turns] == [turn.memory for turn in expected.trace.turns]
    assert Run(tmp_path).usage.total_tokens == expected.usage.total_tokens


def test_several_questions_share_segments_and_resume_from_different_places(tmp_path: Path) -> None:
    questions = ["What is key199?", "What is key198?", "And key197?"]
    expected = ask(ScriptedChat(gather), *questions)
    runs = [tmp_path / str(number) for number in range(3)]
    with pytest.raises(Dies):
        ask(ScriptedChat(dying(10)), *questions, runs=runs)
    assert {len(Run(run).trace.turns) for run in runs} == {3, 4}
    chat = ScriptedChat(gather)
    answers = ask(chat, *questions, runs=runs)
    assert [answer.text for answer in answers] == [answer.text for answer in expected]
    for answer in [*answers, *expected]:
        assert [t.request.segment for t in answer.trace.memories] == [
            t.request.segment for t in expected[0].trace.memories
        ]
    assert len(chat.requests) == sum(len(answer.trace.turns) for answer in expected) - 10


def test_readings_of_one_document_are_kept_in_step() -> None:
    chat = ScriptedChat(gather)
    ask(chat, "a?", "b?", "c?")
    starts = [request.segment.start if request.segment else None for request in chat.requests]
    assert all(len(set(starts[place : place + 3])) == 1 for place in range(0, len(starts), 3))


class Small(ScriptedChat):
    """A server whose window shows only when a prompt overflows it."""

    async def complete(self, request: Request, on_text: OnText | None = None) -> Completion:
        self.window = 1300
        try:
            return await super().complete(request, on_text)
        finally:
            self.window = None


@pytest.mark.parametrize("questions", [("What is key199?",), ("Why?", "What is key199?", "Who? " * 40)])
def test_halved_segments_are_resumed_as_they_were(tmp_path: Path, questions: tuple[str, ...]) -> None:
    """A run killed after any number of calls gives the same turns, even if readings overflow at different places."""

    def cuts(answers: list[Answer]) -> list[list[tuple[int, int]]]:
        segments = [[turn.request.segment for turn in answer.trace.memories] for answer in answers]
        return [[(piece.start, piece.end) for piece in pieces if piece] for pieces in segments]

    expected = ask(Small(gather), *questions)
    total = sum(len(answer.trace.turns) for answer in expected)
    assert max(len(each) for each in cuts(expected)) > 14  # 14 segments, and some were halved
    for after in range(1, total, 3):
        runs = [tmp_path / f"{after}-{number}" for number in range(len(questions))]
        with pytest.raises(Dies):
            ask(Small(dying(after)), *questions, runs=runs)
        answers = ask(Small(gather), *questions, runs=runs)
        assert cuts(answers) == cuts(expected)
        assert [answer.memory for answer in answers] == [answer.memory for answer in expected]


def test_a_failed_model_call_keeps_what_was_paid_for(tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        ask(ScriptedChat(dying(5, ModelError)), runs=[tmp_path])
    assert len(Run(tmp_path).trace.turns) == 5


def test_limits_stop_before_they_are_passed_and_resume(tmp_path: Path) -> None:
    with pytest.raises(LimitReached):
        ask(ScriptedChat(gather), runs=[tmp_path], limits=Limits(max_tokens=10_000))
    spent = Run(tmp_path).usage.total_tokens
    assert 7_000 < spent <= 10_000
    [answer] = ask(ScriptedChat(gather), runs=[tmp_path], limits=Limits(max_tokens=100_000))
    assert answer.text == "39601"


def test_a_changed_document_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Dies):
        ask(ScriptedChat(dying(2)), runs=[tmp_path])
    with (
        MemoryAgent(ScriptedChat(gather), budget=BUDGET) as agent,
        text_document(TEXT + "More.") as document,
        pytest.raises(RunError, match="its documents was"),
    ):
        agent.ask("What is key199?", document, run=tmp_path)


def test_questions_are_checked_before_the_first_call() -> None:
    chat = ScriptedChat(gather, window=1000)
    for question, sentence in [(" ", "empty"), ("word " * 300, "more than its budget"), ("Why?", "larger than the")]:
        with pytest.raises(BudgetError, match=sentence):
            ask(chat, question)
    assert chat.requests == []


def test_an_abandoned_stream_lets_go_of_its_run(tmp_path: Path) -> None:
    async def leave_and_come_back() -> Answer:
        async with MemoryAgent(ScriptedChat(gather), budget=BUDGET) as agent:
            with text_document(TEXT) as document:
                events = agent.stream("What is key199?", document, run=tmp_path)
                async for event in events:
                    assert isinstance(event, Turn)
                    break
                await events.aclose()
                return await agent.ask_async("What is key199?", document, run=tmp_path)

    assert asyncio.run(leave_and_come_back()).text == "39601"


def test_an_agent_in_an_event_loop_says_what_to_use() -> None:
    async def wrong() -> None:
        MemoryAgent(ScriptedChat([])).ask("Why?", "x")

    with pytest.raises(UsageError, match="use ask_async"):
        asyncio.run(wrong())


@pytest.mark.parametrize("wrong", [{"cut": "x"}, {"layout": "x"}, {"answer": "x"}, {"reader": "x"}])
def test_settings_that_do_not_exist_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="x"):
        MemoryAgent(ScriptedChat([]), **wrong)


def test_a_question_is_not_a_list_of_letters() -> None:
    with MemoryAgent(ScriptedChat([])) as agent, pytest.raises(UsageError, match="a list of questions"):
        agent.ask_many("Why?", "book.txt")


def test_an_agent_may_be_used_again_after_closing() -> None:
    agent = MemoryAgent(ScriptedChat(gather), budget=BUDGET)
    for _ in range(2):
        with text_document(TEXT) as document:
            assert agent.ask("What is key199?", document).text == "39601"
        agent.close()
        agent.close()


def test_citations_belong_to_their_documents(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("Nothing here.\n" * 20)
    (tmp_path / "two.txt").write_text("Sentence one.\r\nHere key77 is 5929.\r\n")
    with MemoryAgent(ScriptedChat(gather), budget=BUDGET) as agent:
        answer = agent.ask("What is key77?", [tmp_path / "one.txt", tmp_path / "two.txt"])
    assert answer.text == "5929"
    [place] = answer.citations
    assert place.document == str(tmp_path / "two.txt")
    assert (tmp_path / "two.txt").read_bytes().decode()[place.start : place.end] == place.quote == "Here key77 is 5929."


def test_a_failing_callback_does_not_stop_a_reading(caplog: pytest.LogCaptureFixture) -> None:
    def fails(*given: object) -> None:
        raise IndexError("list index out of range")

    [answer] = ask(ScriptedChat(gather), watch=Watch(fails, fails, fails, fails))
    [expected] = ask(ScriptedChat(gather))
    assert answer.text == expected.text
    assert "A callback of a Watch failed; the reading goes on." in caplog.text


def test_a_silent_model_is_told_of_and_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(ScriptedChat):
        async def complete(self, request: Request, on_text: OnText | None = None) -> Completion:
            await asyncio.sleep(1 if request.kind == "answer" else 0)
            return await super().complete(request, on_text)

    monkeypatch.setattr("memagent.runs.watch.SILENCE", 0.1)
    said: list[tuple[int, float]] = []
    [answer] = ask(Slow(gather), watch=Watch(on_silence=lambda question, seconds: said.append((question, seconds))))
    assert answer.text == ask(ScriptedChat(gather))[0].text
    assert said[:3] == [(0, 0.1), (0, 0.2), (0, 0.4)]
