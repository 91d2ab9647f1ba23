from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest
from data import DATA, needs_data
from oracle import Oracle

from memagent import Budget, MemoryAgent, Request, ScriptedChat
from memagent.bench.ledger import read_results
from memagent.bench.plan import Plan
from memagent.bench.results import Cell, Result
from memagent.bench.running import Progress, run
from memagent.core.tokenizer import ByteTokenizer
from memagent.errors import BudgetError, ModelError, RunError, UsageError, WindowOverflow
from memagent.tasks.catalog import RULER, Data
from memagent.tasks.counting import CommonWords
from memagent.tasks.example import Example, Length, Task
from memagent.tasks.needles import NeedleTask
from memagent.tasks.own_questions import load_own
from memagent.tasks.tracing import TracingTask

BYTES = ByteTokenizer()
NOISE = NeedleTask("niah_single_1", "noise")
LENGTH = Length(6000)


def agent_for(chat: ScriptedChat, segment: int = 1000) -> MemoryAgent:
    return MemoryAgent(chat, budget=Budget(segment=segment), citations=False, fsync=False)


def measure(
    plan: Plan, chat: ScriptedChat, folder: Path, concurrency: int = 8, progress: Progress | None = None
) -> list[Cell]:
    return asyncio.run(run(plan, agent_for(chat), BYTES, folder, concurrency=concurrency, progress=progress))


def examples(plan: Plan) -> list[tuple[Task, Example]]:
    return [
        (sample.task, sample.task.example(sample.length, sample.number, plan.seed, BYTES))
        for sample in plan.samples_in_order()
    ]


def results(folder: Path) -> list[Result]:
    return list(read_results(folder))


# -- perfect, amnesiac, forgetful -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def every_task() -> list[Task]:
    return Data(
        prose=str(DATA / "books" / "siddhartha.txt.gz"),
        squad=str(DATA / "squad" / "dev-v1.1.jsonl.gz"),
        hotpotqa=str(DATA / "hotpotqa" / "dev.jsonl.gz"),
        paragraphs=str(DATA / "wiki" / "paragraphs.jsonl.gz"),
    ).tasks([*RULER, "hqa"])


@pytest.mark.slow
@needs_data
def test_a_reader_with_the_ideal_memory_scores_100_on_every_task(every_task: list[Task], tmp_path: Path) -> None:
    plan = Plan(every_task, [Length(12_000)], 6, ["memory"])
    cells = measure(plan, Oracle(examples(plan)).chat(), tmp_path)
    assert {cell.task for cell in cells} == {*RULER, "hqa"}
    scores = {(cell.task, cell.metric): cell.score for cell in cells}
    assert scores == dict.fromkeys(scores, 100)
    assert all(fact.state == "answered" for result in results(tmp_path) for fact in result.facts)


@pytest.mark.slow
@needs_data
def test_a_reader_without_memory_scores_what_chance_gives(every_task: list[Task], tmp_path: Path) -> None:
    plan = Plan(every_task, [Length(12_000)], 40, ["memory"])
    guess = ScriptedChat(lambda request: "" if request.segment else "\\boxed{yes}", keep=False)
    cells = measure(plan, guess, tmp_path)
    yes = {
        task.name: sum("yes" in task.example(Length(12_000), number, 42, BYTES).answers for number in range(40)) / 40
        for task in every_task
    }
    assert yes["hqa"] > 0
    first = {cell.task: cell.score for cell in reversed(cells)}
    assert first == {name: pytest.approx(100 * share) for name, share in yes.items()}
    wrong = [result for result in results(tmp_path) if next(iter(result.scores.values())) < 1]
    states = {fact.state for result in wrong for fact in result.facts}
    assert states == {"never written"}


@pytest.mark.parametrize("forgets", [2, 3, 5])
def test_a_reader_that_forgets_at_step_k_is_reported_as_lost_at_step_k(forgets: int, tmp_path: Path) -> None:
    plan = Plan([NOISE, TracingTask()], [LENGTH], 10, ["memory"])
    measure(plan, Oracle(examples(plan), forgets=forgets).chat(), tmp_path)
    facts = [fact for result in results(tmp_path) for fact in result.facts]
    assert {(fact.state, fact.lost_at) for fact in facts if fact.step < forgets} == {("lost", forgets)}
    assert {(fact.state, fact.lost_at) for fact in facts if fact.step >= forgets} == {("never written", None)}
    assert all(result.scores["string_match_all"] == 0 for result in results(tmp_path))


def test_what_is_held_and_not_answered_is_reported_so(tmp_path: Path) -> None:
    plan = Plan([NOISE], [LENGTH], 5, ["memory"])
    oracle = Oracle(examples(plan))
    silent = ScriptedChat(lambda request: oracle(request) if request.segment else "\\boxed{nothing}", keep=False)
    cells = measure(plan, silent, tmp_path)
    assert {fact.state for result in results(tmp_path) for fact in result.facts} == {"not answered"}
    assert cells[0].causes == {"not answered": 5}


# -- readers ----------------------------------------------------------------------------------------------------------


def test_readers_see_the_whole_both_ends_or_what_was_found(tmp_path: Path) -> None:
    chat = ScriptedChat(lambda request: "\\boxed{?}", window=20_000)
    plan = Plan([NOISE], [Length(4000), Length(40_000)], 3, ["direct", "truncate", "retrieve"])
    measure(plan, chat, tmp_path, concurrency=1)
    found = {(each.reader, each.length, each.number): each for each in results(tmp_path)}
    assert [each.status for each in found.values() if each.reader == "direct" and each.length == 40_000] == [
        "overflow"
    ] * 3
    assert "window" in found["direct", 40_000, 0].cause
    prompts = [request.messages[0].content for request in chat.requests]
    for number in range(3):
        short = NOISE.example(Length(4000), number, 42, BYTES)
        long = NOISE.example(Length(40_000), number, 42, BYTES)
        assert short.prompt() in prompts
        cut = [each for each in prompts if len(each) > 15_000 and each.endswith(long.prompt()[-2000:])]
        assert len(cut) == 1
        assert cut[0].startswith(long.prompt()[:2000])
        assert 19_000 < len(cut[0].encode()) + 128 <= 20_000
        passages = [prompt for prompt in prompts if long.facts[0].text in prompt and len(prompt) < 3000]
        assert len(passages) == 1  # BM25 finds the needle by its key
    assert {each.status for each in found.values() if each.reader != "direct"} == {"done"}


def test_truncating_needs_to_know_the_window(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="give --window"):
        measure(Plan([NOISE], [LENGTH], 1, ["truncate"]), ScriptedChat(lambda request: ""), tmp_path)


# -- failures, retries, resuming --------------------------------------------------------------------------------------


def failing(numbers: set[int]) -> ScriptedChat:
    """Return a chat that fails on the examples with these numbers, recognised by their questions."""
    keys = [NOISE.example(LENGTH, number, 42, BYTES).question for number in numbers]

    def reply(request: Request) -> str:
        if any(key in request.messages[0].content for key in keys):
            raise ModelError("The server fell asleep: wake it.")
        return "\\boxed{0}"

    return ScriptedChat(reply, keep=False)


def test_a_failed_example_scores_0_is_counted_and_alone_is_tried_again(tmp_path: Path) -> None:
    plan = Plan([NOISE], [LENGTH], 10, ["memory"])
    cells = measure(plan, failing({2, 7}), tmp_path)
    assert [(cell.failed, cell.samples) for cell in cells] == [(2, 10), (2, 10)]
    failed = [each for each in results(tmp_path) if each.status == "failed"]
    assert [(each.number, each.cause, each.attempts) for each in failed] == [
        (number, "The server fell asleep: wake it.", 1) for number in (2, 7)
    ]
    oracle = Oracle(examples(plan))
    asked: list[Request] = []

    def reply(request: Request) -> str:
        asked.append(request)
        return oracle(request)

    awake = ScriptedChat(reply, keep=False)
    cells = measure(plan, awake, tmp_path)
    assert [(cell.failed, cell.samples, cell.score) for cell in cells] == [(0, 10, 20.0), (0, 10, 20.0)]
    questions = {NOISE.example(LENGTH, number, 42, BYTES).question for number in (2, 7)}
    assert all(any(question in request.messages[0].content for question in questions) for request in asked)
    assert [(each.number, each.attempts) for each in results(tmp_path) if each.attempts > 1] == [(2, 2), (7, 2)]
    assert len((tmp_path / "results.jsonl").read_text().splitlines()) == 10


def test_a_model_that_only_fails_is_taken_for_dead(tmp_path: Path) -> None:
    plan = Plan([NOISE], [LENGTH], 50, ["memory"])
    with pytest.raises(ModelError, match="8 examples in a row failed, the last one with: The server fell asleep"):
        measure(plan, failing(set(range(50))), tmp_path, concurrency=1)
    assert len(results(tmp_path)) == 8


def test_an_overflow_is_no_failure_and_is_not_tried_again(tmp_path: Path) -> None:
    tried: list[Request] = []

    def reply(request: Request) -> str:
        tried.append(request)
        raise WindowOverflow("Too long.")

    plan = Plan([NOISE], [LENGTH], 20, ["direct"])
    cells = measure(plan, ScriptedChat(reply, keep=False), tmp_path)
    assert [(cell.overflow, cell.failed, cell.score) for cell in cells] == [(20, 0, 0.0)]
    measure(plan, ScriptedChat(reply, keep=False), tmp_path)
    assert len(tried) == 20


def test_a_run_of_many_workers_equals_one_of_a_single_worker(tmp_path: Path) -> None:
    plan = Plan([NOISE, TracingTask()], [Length(4000), LENGTH], 5, ["memory", "direct"])
    for concurrency in (1, 16):
        measure(plan, Oracle(examples(plan), forgets=4).chat(), tmp_path / str(concurrency), concurrency)
    one, many = ((tmp_path / name / "results.json").read_bytes() for name in ("1", "16"))
    assert one == many


def test_a_folder_gathers_tasks_lengths_and_samples_but_not_other_settings(tmp_path: Path) -> None:
    chat = ScriptedChat(lambda request: "\\boxed{0}", keep=False)
    measure(Plan([NOISE], [Length(4000)], 2, ["direct"]), chat, tmp_path)
    cells = measure(Plan([TracingTask()], [LENGTH], 3, ["direct"]), chat, tmp_path)
    assert [(cell.task, cell.length, cell.samples) for cell in cells] == [("niah_single_1", 4000, 2), ("vt", 6000, 3)]
    with pytest.raises(RunError, match="its seed was 42 and is now 7"):
        measure(Plan([NOISE], [LENGTH], 2, ["direct"], seed=7), chat, tmp_path)


def test_progress_counts_all_work_once(tmp_path: Path) -> None:
    started: list[tuple[int, int, int]] = []
    work: list[int] = []
    done: list[Result] = []

    def on_result(result: Result, tokens: int) -> None:
        done.append(result)
        work.append(tokens)

    progress = Progress(lambda *figures: started.append(figures), work.append, on_result)
    plan = Plan([NOISE], [LENGTH], 4, ["memory", "direct"])
    chat = ScriptedChat(lambda request: "\\boxed{0}", keep=False)
    measure(plan, chat, tmp_path, progress=progress)
    assert started == [(8, 0, 8 * 6000)]
    assert len(done) == 8
    assert sum(work) == 8 * 6000
    measure(plan, chat, tmp_path, progress=progress)
    assert started[1] == (8, 8, 0)


def test_the_longest_example_is_tried_before_anything_is_paid_for(tmp_path: Path) -> None:
    chat = ScriptedChat(lambda request: "")
    task = CommonWords(words=[f"word{number}" for number in range(200)])
    with pytest.raises(UsageError, match="200 words, too few for cwe at 64k"):
        measure(Plan([task], [Length(3000), Length(65536)], 2, ["direct"]), chat, tmp_path)
    assert chat.requests == []


def test_questions_of_your_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    lines = [
        {"question": "Who hid it?", "document": "The baker hid it. " * 50, "answers": ["The baker"]},
        {"question": "What?", "document": "A box was hidden. " * 50, "answers": ["box", "a box"]},
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    chat = ScriptedChat(lambda request: "The baker" if request.segment else "\\boxed{the baker}", keep=False)
    cells = measure(Plan([load_own(file)], [], 10, ["memory", "direct"]), chat, tmp_path / "out")
    assert {(cell.task, cell.unit, cell.reader, cell.samples, cell.score) for cell in cells} == {
        ("mine", "own", "memory", 2, 50.0),
        ("mine", "own", "direct", 2, 50.0),
    }


def own(folder: Path, name: str, *lines: dict[str, object]) -> Task:
    path = folder / name
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return load_own(path)


LINE: dict[str, object] = {"question": "Who?", "document": "The baker.", "answers": ["baker"]}


def test_questions_that_changed_are_not_gone_on_with(tmp_path: Path) -> None:
    chat = ScriptedChat(lambda request: "\\boxed{0}", keep=False)

    def go(task: Task) -> None:
        extra = {"data": Data().fingerprints([task])}
        agent = agent_for(chat)
        asyncio.run(run(Plan([task], [], None, ["direct"]), agent, BYTES, tmp_path / "out", extra=extra))

    go(own(tmp_path, "mine.jsonl", LINE))
    go(own(tmp_path, "mine.jsonl", LINE))
    with pytest.raises(RunError, match="its data was"):
        go(own(tmp_path, "mine.jsonl", {**LINE, "question": "What?"}, LINE))


def test_all_questions_of_a_file_are_asked_unless_fewer_are_wanted(tmp_path: Path) -> None:
    task = own(tmp_path, "mine.jsonl", *[LINE] * 25)
    assert len(list(Plan([task], [], None, ["direct"]).samples_in_order())) == 25
    assert len(list(Plan([task], [], 4, ["direct"]).samples_in_order())) == 4
    assert len(list(Plan([NOISE], [LENGTH], None, ["direct"]).samples_in_order())) == 10


def test_names_beyond_ascii_have_journals_of_their_own(tmp_path: Path) -> None:
    tasks = [own(tmp_path, name, LINE) for name in ("日本.jsonl", "中国.jsonl", "a b.jsonl", "a_b.jsonl")]
    chat = ScriptedChat(lambda request: "\\boxed{the baker}", keep=False)
    cells = measure(Plan(tasks, [], None, ["memory"]), chat, tmp_path / "out")
    assert {(cell.task, cell.score) for cell in cells} == {(name, 100.0) for name in ("日本", "中国", "a b", "a_b")}
    assert len(list((tmp_path / "out" / "runs").iterdir())) == 4


def test_a_score_by_the_box_is_for_readers_that_are_asked_for_one(tmp_path: Path) -> None:
    task = own(tmp_path, "mine.jsonl", {**LINE, "scorer": "boxed"})
    chat = ScriptedChat(lambda request: "\\boxed{baker}")
    with pytest.raises(UsageError, match="which only memory readers give: give --reader memory"):
        measure(Plan([task], [], None, ["memory", "direct"]), chat, tmp_path / "out")
    assert chat.requests == []
    [cell] = measure(Plan([task], [], None, ["memory"]), chat, tmp_path / "out")
    assert (cell.metric, cell.score) == ("boxed", 100.0)


def test_a_question_too_long_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    task = own(tmp_path, "mine.jsonl", LINE, {**LINE, "question": "Who? " * 500})
    chat = ScriptedChat(lambda request: "")
    with pytest.raises(BudgetError, match="1,476 more than its budget"):
        measure(Plan([task], [], None, ["memory"]), chat, tmp_path / "out")
    assert chat.requests == []


def test_a_dead_model_is_noticed_also_where_other_readers_overflow(tmp_path: Path) -> None:
    def reply(request: Request) -> str:
        if request.segment is None:
            raise WindowOverflow("Too long.")
        raise ModelError("The server fell asleep: wake it.")

    plan = Plan([NOISE], [LENGTH], 50, ["memory", "direct"])
    with pytest.raises(ModelError, match="8 examples in a row failed"):
        measure(plan, ScriptedChat(reply, keep=False), tmp_path, concurrency=1)


def test_an_example_with_other_right_answers_has_another_fingerprint(tmp_path: Path) -> None:
    found: list[Result] = []
    for answer in ("Paris", "Rome"):
        file = tmp_path / answer / "mine.jsonl"
        file.parent.mkdir()
        line = {"question": "Which?", "document": "Paris or Rome.", "answer": answer}
        file.write_text(json.dumps(line), encoding="utf-8")
        plan = Plan([load_own(file)], [], None, ["memory"])
        measure(plan, ScriptedChat(lambda request: "\\boxed{Paris}", keep=False), tmp_path / answer / "out")
        found += read_results(tmp_path / answer / "out")
    assert [result.scores["sub_em"] for result in found] == [1, 0]
    assert found[0].example != found[1].example


def test_what_was_not_tried_comes_before_what_failed(tmp_path: Path) -> None:
    """The first eight always fail, and eight failures in a row stop a run. The next run still reads the others."""
    task = NeedleTask("niah_single_1", "noise")
    questions = [task.example(LENGTH, number, 42, ByteTokenizer()).question for number in range(8)]
    refused = [question.split("\n")[-1] for question in questions]

    def reply(request: Request) -> str:
        if any(question in request.messages[0].content for question in refused):
            raise ModelError("Refused.")
        return "\\boxed{0}"

    plan = Plan([task], [LENGTH], 20, ["direct"])
    with pytest.raises(ModelError, match="8 examples in a row"):
        measure(plan, ScriptedChat(reply, keep=False), tmp_path, concurrency=1)
    with pytest.raises(ModelError, match="8 examples in a row"):
        measure(plan, ScriptedChat(reply, keep=False), tmp_path, concurrency=1)
    assert sum(result.status == "done" for result in read_results(tmp_path)) == 12


def test_a_failed_example_has_what_was_paid_for_it(tmp_path: Path) -> None:
    replies = iter(["a memory"])

    def reply(request: Request) -> str:
        text = next(replies, None)
        if text is None:
            raise ModelError("Gone.")
        return text

    plan = Plan([NeedleTask("niah_single_1", "noise")], [LENGTH], 1, ["memory"])
    measure(plan, ScriptedChat(reply, keep=False), tmp_path)
    [result] = read_results(tmp_path)
    assert result.status == "failed"
    assert result.completion_tokens == len("a memory")


def test_lengths_of_a_preset_that_the_data_cannot_fill_are_left_out(tmp_path: Path) -> None:
    task = CommonWords(words=[f"word{number}" for number in range(300)])
    notes: list[str] = []
    plan = Plan([task], [Length(3000), Length(500_000)], 2, ["direct"])
    chat = ScriptedChat(lambda request: "word1", keep=False)
    with pytest.raises(UsageError, match="too few for cwe at 500000"):
        measure(plan, chat, tmp_path)
    cells = measure(replace(plan, shortened=True), chat, tmp_path, progress=Progress(on_note=notes.append))
    assert {cell.length for cell in cells} == {3000}
    assert len(notes) == 1
    assert notes[0].startswith("Left out: There are 300 words, too few for cwe at 500000")


def test_readers_that_see_the_document_have_room_to_say_the_prefix_again(tmp_path: Path) -> None:
    chat = ScriptedChat(lambda request: "1")
    measure(Plan([TracingTask()], [LENGTH], 1, ["direct"]), chat, tmp_path)
    prefix = chat.requests[0].messages[0].content.rsplit("\n", 1)[-1]
    assert "they are: " in prefix
    assert chat.requests[0].max_tokens == 30 + len(prefix)


def test_what_is_answered_stands_in_what_is_scored(tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    line = {"question": "Which city?", "document": "It was Paris.", "answer": "Paris"}
    file.write_text(json.dumps(line), encoding="utf-8")
    chat = ScriptedChat(lambda request: "Paris" if request.segment else "Not Paris: \\boxed{London}", keep=False)
    measure(Plan([load_own(file)], [], None, ["memory"]), chat, tmp_path / "out")
    [result] = read_results(tmp_path / "out")
    assert (result.scores["sub_em"], result.facts[0].state) == (0, "not answered")
