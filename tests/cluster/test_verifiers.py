"""The environment for verifiers, against a model server on 127.0.0.1 that replies as a perfect reader does."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from fault_server import Body, Fault, FaultServer, Reply, json_reply, status
from keeper import FACTS, FILLER, KEYS, QUESTION, perfect, text

pytest.importorskip("verifiers")

import verifiers.v1 as vf
from renderers import DefaultRendererConfig
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from memagent.core.records import Completion, Request, Turn
from memagent.rl.rollouts import Attempt

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
from verifiers_environment import ReadingData, load_environment

BUDGET = {"question": 100, "memory": 400, "answer": 400}
ENOUGH = vf.SamplingConfig(max_tokens=400)
TEMPLATE = "{% for m in messages %}<s>{{ m.content }}</s>{% endfor %}{% if add_generation_prompt %}<r>{% endif %}"


@pytest.fixture(autouse=True)
def _scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("verifiers.v1.runtimes.subprocess.CACHE_DIR", tmp_path)


def environment(folder: Path, reader: str, document: str | None = None, segment: int = 2600) -> tuple[vf.Env, vf.Task]:
    questions = folder / "keeper.jsonl"
    row = {"question": QUESTION, "document": document or text(), "answer": KEYS, "scorer": "exact_match"}
    questions.write_text(json.dumps(row) + "\n", encoding="utf-8")
    env = load_environment(questions=str(questions), budget=BUDGET | {"segment": segment}, reader=reader)
    (task,) = env.taskset
    return env, task


def read_alone(data: ReadingData, reply: Callable[[Request], str] = perfect) -> list[Turn]:
    """Return the turns of the same reading, driven without verifiers."""
    attempt = Attempt(data.problem())
    while attempt.wanted:
        for place, request in list(attempt.wanted.items()):
            attempt.take(Completion(reply(request)), place)
    return attempt.trace


def roll_out(env: vf.Env, task: vf.Task, client: vf.ClientConfig, sampling: vf.SamplingConfig) -> vf.Episode:
    async def run() -> vf.Episode:
        async with env.serving():
            (slot,) = env.slots(task)
            return await env.run_slot(slot, vf.ModelContext("m", client, sampling))

    return asyncio.run(run())


def served(trace: vf.Trace) -> Counter[tuple[tuple[str, str], ...]]:
    """Count the conversations of a rollout."""
    return Counter(tuple((m.role, m.content) for m in branch.messages) for branch in trace.branches)


def wanted(turns: list[Turn]) -> Counter[tuple[tuple[str, str], ...]]:
    """Count the conversations of a reading."""
    return Counter(
        (*((m.role, m.content) for m in turn.request.messages), ("assistant", turn.completion.text)) for turn in turns
    )


def said(text: str) -> Reply:
    """Reply with all the fields that verifiers demands."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    value = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
    return json_reply(value, {"prompt_tokens": 20, "completion_tokens": 3, "total_tokens": 23})


def in_chat(replies: dict[str, str]) -> Fault:
    return lambda body: said(replies[body["messages"][0]["content"]])


def replies_of(turns: list[Turn]) -> dict[str, str]:
    return {turn.request.messages[0].content: turn.completion.text for turn in turns}


@pytest.mark.parametrize("reader", ["overwrite", "parallel_gated", "search_collect", "exit_extract"])
def test_each_conversation_is_a_branch_and_the_answer_is_the_reward(tmp_path: Path, reader: str) -> None:
    env, task = environment(tmp_path, reader)
    turns = read_alone(task.data)
    with FaultServer([in_chat(replies_of(turns))], pause=0.02) as server:
        client = vf.EvalClientConfig(base_url=server.url, api_key_var="NO_KEY")
        episode = roll_out(env, task, client, vf.SamplingConfig(temperature=0.5))
    assert episode.ok, episode.errors
    (trace,) = episode.traces
    assert len(turns) > 2
    assert trace.num_branches == trace.num_turns == len(trace.calls) == len(server.requests) == len(turns)
    assert served(trace) == wanted(turns)
    assert {name: reward.value for name, reward in trace.rewards.items()} == {"reward": 1.0}
    assert (trace.last_reply, trace.stop_condition) == (f"\\boxed{{{KEYS}}}", "agent_completed")
    assert Counter((body["messages"][0]["content"], body["max_tokens"]) for body in server.bodies) == Counter(
        (turn.request.messages[0].content, turn.request.max_tokens) for turn in turns
    )
    assert {(body["model"], body["temperature"]) for body in server.bodies} == {("m", 0.5)}
    assert (server.most_at_once > 1) == (max(Counter(turn.wave for turn in turns).values()) > 1)


def test_equal_conversations_are_branches_of_their_own_even_if_one_is_retried(tmp_path: Path) -> None:
    paragraph = f"{FILLER}{FACTS[0]} {FACTS[1]}\n\n"
    env, task = environment(tmp_path, "parallel_extract", paragraph * 4, len(paragraph))
    turns = read_alone(task.data)
    assert max(wanted(turns).values()) == 4
    with FaultServer([status(503), in_chat(replies_of(turns))], pause=0.1) as server:
        client = vf.EvalClientConfig(base_url=server.url, api_key_var="NO_KEY")
        (trace,) = roll_out(env, task, client, vf.SamplingConfig()).traces
    assert (trace.ok, trace.reward, len(server.requests)) == (True, 1.0, len(turns) + 1)
    assert served(trace) == wanted(turns)


def test_a_wrong_answer_has_the_reward_0(tmp_path: Path) -> None:
    env, task = environment(tmp_path, "overwrite")
    with FaultServer([lambda _: said("\\boxed{7919}")]) as server:
        client = vf.EvalClientConfig(base_url=server.url, api_key_var="NO_KEY")
        (trace,) = roll_out(env, task, client, vf.SamplingConfig()).traces
    assert (trace.ok, trace.reward, trace.last_reply) == (True, 0.0, "\\boxed{7919}")


def test_a_prompt_that_does_not_fit_is_halved(tmp_path: Path) -> None:
    env, task = environment(tmp_path, "overwrite")
    first = len(read_alone(task.data)[0].request.messages[0].content)

    def small_window(body: Body) -> Reply:
        if len(body["messages"][0]["content"]) >= first:
            return status(400, "This model's maximum context length is 2000 tokens.")(body)
        return said("\\boxed{" + KEYS + "}")

    with FaultServer([small_window]) as server:
        client = vf.EvalClientConfig(base_url=server.url, api_key_var="NO_KEY")
        (trace,) = roll_out(env, task, client, vf.SamplingConfig()).traces
    failed = [call for call in trace.calls if call.error]
    assert (trace.ok, trace.reward, trace.num_branches) == (True, 1.0, len(trace.calls) - len(failed))
    assert len(failed) > 1
    assert trace.num_branches > len(task.data.pieces) + 1


def test_a_stopped_rollout_has_the_reward_0(tmp_path: Path) -> None:
    env, task = environment(tmp_path, "parallel_gated")
    env.config.agent.max_turns = 2
    with FaultServer([lambda _: said("\\boxed{" + KEYS + "}")]) as server:
        client = vf.EvalClientConfig(base_url=server.url, api_key_var="NO_KEY")
        (trace,) = roll_out(env, task, client, vf.SamplingConfig()).traces
    assert (trace.stop_condition, trace.reward) == ("max_turns", 0.0)


def test_a_failing_server_is_an_error_and_not_a_reward(tmp_path: Path) -> None:
    env, task = environment(tmp_path, "overwrite")
    with FaultServer([status(401, "no such key")]) as server:
        client = vf.EvalClientConfig(base_url=server.url, api_key_var="NO_KEY")
        (trace,) = roll_out(env, task, client, vf.SamplingConfig()).traces
    assert not trace.ok
    assert trace.rewards == {}
    assert "no such key" in str(trace.last_error)


def byte_tokenizer(folder: Path) -> Any:
    names = ["<s>", "</s>", "<r>"]
    vocabulary = {
        letter: number for number, letter in enumerate([*names, *sorted(pre_tokenizers.ByteLevel.alphabet())])
    }
    backend = Tokenizer(models.BPE(vocabulary, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="</s>", additional_special_tokens=["<s>", "<r>"]
    )
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    return tokenizer


@contextmanager
def engine(tokenizer: Any, replies: dict[str, str]) -> Iterator[tuple[str, list[Body]]]:
    """Serve vLLM's generate endpoint, with tokens in and tokens out. Yields the address and the list of requests."""
    bodies: list[Body] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send(404, {})

        def do_POST(self) -> None:
            assert self.path == "/inference/v1/generate"
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            bodies.append(body)
            prompt = tokenizer.decode(body["token_ids"]).removeprefix("<s>").removesuffix("</s><r>")
            ids = [*tokenizer(replies[prompt])["input_ids"], tokenizer.eos_token_id]
            logprobs = {"content": [{"token": f"token_id:{id}", "logprob": -id / 100} for id in ids]}
            choice = {"index": 0, "token_ids": ids, "logprobs": logprobs, "finish_reason": "stop"}
            self.send(200, {"request_id": "r", "choices": [choice]})

        def send(self, code: int, value: Body) -> None:
            data = json.dumps(value).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1", bodies
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def trainer(url: str, folder: Path) -> vf.TrainClientConfig:
    return vf.TrainClientConfig(
        base_url=url, api_key_var="NO_KEY", renderer=DefaultRendererConfig(), renderer_model_name=str(folder)
    )


def test_each_branch_has_the_tokens_of_its_conversation_alone(tmp_path: Path) -> None:
    tokenizer = byte_tokenizer(tmp_path / "tokenizer")
    env, task = environment(tmp_path, "parallel_gated")
    turns = read_alone(task.data)
    with engine(tokenizer, replies_of(turns)) as (url, bodies):
        episode = roll_out(env, task, trainer(url, tmp_path / "tokenizer"), ENOUGH)
    assert episode.ok, episode.errors
    (trace,) = episode.traces
    assert (trace.reward, trace.num_branches, len(bodies)) == (1.0, len(turns), len(turns))
    assert served(trace) == wanted(turns)
    assert {body["sampling_params"]["max_tokens"] for body in bodies} == {400}
    for branch in trace.branches:
        prompt, reply = branch.messages
        sent = tokenizer(f"<s>{prompt.content}</s><r>")["input_ids"]
        said = [*tokenizer(reply.content)["input_ids"], tokenizer.eos_token_id]
        assert branch.token_ids == [*sent, *said]
        assert branch.sampled_mask == [False] * len(sent) + [True] * len(said)
        assert branch.logprobs == [0.0] * len(sent) + [-id / 100 for id in said]
        assert branch.trainable


@pytest.mark.parametrize("most", [None, 401])
def test_a_limit_above_the_budget_is_refused(tmp_path: Path, most: int | None) -> None:
    byte_tokenizer(tmp_path / "tokenizer")
    env, task = environment(tmp_path, "overwrite")
    client = trainer("http://127.0.0.1:9/v1", tmp_path / "tokenizer")
    (trace,) = roll_out(env, task, client, vf.SamplingConfig(max_tokens=most)).traces
    assert not trace.ok
    assert f"max_tokens is {most}: give at most 400" in str(trace.last_error)


def test_a_task_survives_the_way_to_another_process(tmp_path: Path) -> None:
    _, task = environment(tmp_path, "overwrite")
    again = ReadingData.model_validate(json.loads(json.dumps(task.data.model_dump(mode="json"))))
    assert again == task.data
    assert "".join(piece.text for piece in again.pieces) == text()
