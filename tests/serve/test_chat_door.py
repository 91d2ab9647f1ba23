"""OpenAI's chat completions, with OpenAI's own client."""

from __future__ import annotations

import asyncio
import base64
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keeper
import openai
import pytest
from served import WINDOW, Served, SlowChat, perfect_chat, serving

from memagent.core.records import Completion, Request
from memagent.models.chat import OnText
from memagent.models.scripted import ScriptedChat
from memagent.serve.service_limits import ServiceLimits

FILE, TEXT = {"type": "file"}, {"type": "text", "text": "What?"}
LONG = f"Some keys are hidden in this text.\n{keeper.text()}\n{keeper.QUESTION}"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("service")) as found:
        yield found


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as found:
        yield found


def ask(client: openai.OpenAI, content: Any, **more: Any) -> Any:
    return client.chat.completions.create(model="memagent", messages=[{"role": "user", "content": content}], **more)


def citations(message: Any) -> list[dict[str, Any]]:
    return [each.model_extra["file_citation"] for each in message.annotations]


def test_a_prompt_that_fits_goes_to_the_model_as_it_is(client: openai.OpenAI) -> None:
    found = ask(client, "Hello")
    assert found.choices[0].message.content == "A short reply. The end."
    assert found.usage.prompt_tokens == len("Hello")


def test_a_longer_prompt_is_read_and_cited(client: openai.OpenAI) -> None:
    found = ask(client, LONG)
    assert len(LONG) > WINDOW
    message = found.choices[0].message
    assert message.content == keeper.KEYS
    assert sorted(each["quote"] for each in citations(message)) == sorted(keeper.FACTS)
    assert found.model_extra["memagent"]["question"] == f"Some keys are hidden in this text.\n{keeper.QUESTION}"


def test_a_citation_is_a_place_in_the_message(client: openai.OpenAI) -> None:
    for cited in citations(ask(client, LONG).choices[0].message):
        assert LONG[cited["start"] : cited["end"]] == cited["quote"]


class EndlessChat(ScriptedChat):
    """Writes one word after the other until the call is cancelled."""

    async def complete(self, request: Request, on_text: OnText | None = None) -> Completion:
        for number in itertools.count(1):
            await asyncio.sleep(0.005)
            if on_text:
                on_text("word " * number)
        raise AssertionError


@pytest.mark.parametrize("stream", [False, True])
def test_a_stop_text_ends_the_models_work(tmp_path: Path, stream: bool) -> None:
    with (
        serving(tmp_path, EndlessChat([])) as served,
        openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as client,
    ):
        found = ask(client, "Hello", stop="word word w", stream=stream)
        if stream:
            chunks = list(found)
            assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == ""
            assert chunks[-1].choices[0].finish_reason == "stop"
        else:
            choice = found.choices[0]
            assert (choice.message.content, choice.finish_reason, found.usage.completion_tokens > 10) == ("", "stop", 1)


def test_earlier_messages_are_the_document(client: openai.OpenAI) -> None:
    messages: list[Any] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": keeper.text()},
        {"role": "assistant", "content": "I have read it."},
        {"role": "user", "content": keeper.QUESTION},
    ]
    found = client.chat.completions.create(model="memagent", messages=messages)
    assert found.choices[0].message.content == keeper.KEYS
    assert found.model_extra is not None
    assert found.model_extra["memagent"]["question"] == f"Be brief.\n{keeper.QUESTION}"


def test_the_question_can_be_said_outright(client: openai.OpenAI) -> None:
    found = ask(client, keeper.text(), extra_body={"memagent": {"question": keeper.QUESTION}})
    assert found.choices[0].message.content == keeper.KEYS
    document = {"text": keeper.text(20), "name": "keeper.txt"}
    found = ask(client, "?", extra_body={"memagent": {"question": keeper.QUESTION, "documents": [document]}})
    assert citations(found.choices[0].message)[0]["document"] == "keeper.txt"


def test_a_reply_continues_the_assistants_message(client: openai.OpenAI) -> None:
    messages: list[Any] = [
        {"role": "user", "content": LONG},
        {"role": "assistant", "content": "The keys are"},
    ]
    found = client.chat.completions.create(model="memagent", messages=messages)
    assert found.choices[0].message.content == keeper.KEYS
    assert found.model_extra is not None
    assert found.model_extra["memagent"]["question"].endswith("The keys are")


def test_files_are_read_by_id_and_by_content(client: openai.OpenAI) -> None:
    content = keeper.text().encode()
    kept = client.files.create(file=("keeper.txt", content), purpose="user_data")
    encoded = f"data:text/plain;base64,{base64.b64encode(content).decode()}"
    for file in ({"file_id": kept.id}, {"filename": "other.txt", "file_data": encoded}):
        found = ask(client, [{"type": "file", "file": file}, {"type": "text", "text": keeper.QUESTION}])
        assert found.choices[0].message.content == keeper.KEYS
        cited = citations(found.choices[0].message)[0]
        assert cited["document"] == file.get("filename", "keeper.txt")
        assert content.decode()[cited["start"] : cited["end"]] == cited["quote"]
    assert kept.id in [each.id for each in client.files.list().data]
    assert client.files.content(kept.id).content == content
    assert client.files.delete(kept.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(kept.id)


@pytest.mark.parametrize("progress", ["reasoning", "comments", "none"])
def test_a_stream_shows_progress_and_then_the_answer(client: openai.OpenAI, progress: str) -> None:
    how = {"memagent": {"progress": progress, "fresh": True}}
    chunks = list(ask(client, LONG, stream=True, stream_options={"include_usage": True}, extra_body=how))
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    thoughts = [
        each.model_extra["reasoning_content"] for each in deltas if "reasoning_content" in (each.model_extra or {})
    ]
    assert "".join(each.content or "" for each in deltas) == keeper.KEYS
    assert bool(thoughts) == (progress == "reasoning")
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].usage.prompt_tokens > len(LONG)


def test_a_short_prompt_is_streamed_as_the_model_writes(client: openai.OpenAI) -> None:
    chunks = list(ask(client, "Hello", stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "A short reply. The end."


def test_replies_end_where_the_client_asks(client: openai.OpenAI) -> None:
    assert ask(client, "Hello", stop=["The"]).choices[0].message.content == "A short reply. "
    chunks = ask(client, "Hello", stop="The", stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "A short reply. "
    found = ask(client, LONG, stop=",").choices[0]
    assert (found.message.content, found.finish_reason) == (keeper.KEYS.split(",")[0], "stop")
    found = ask(client, LONG, max_tokens=5).choices[0]
    assert (found.message.content, found.finish_reason) == (keeper.KEYS[:5], "length")


def test_the_models_are_listed(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list().data] == ["scripted", "memagent"]
    assert client.models.retrieve("memagent").id == "memagent"


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"model": "gpt-x"}, "There is no model gpt-x here"),
        ({"n": 2}, "A reading does not support n > 1"),
        ({"response_format": {"type": "json_object"}}, "does not support response_format json_object"),
        ({"messages": []}, "messages"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"messages": [{"role": "assistant", "content": LONG}]}, "no message with the role user"),
        ({"memagent": {"reader": "telepathy"}}, "There is no reader telepathy"),
        ({"memagent": {"colour": 1}}, "memagent.colour"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "text": LONG}]}]}, "type image_url"),
        ({"messages": [{"role": "user", "content": [FILE | {"file": {"file_id": "file-no"}}, TEXT]}]}, "file-no"),
        ({"messages": [{"role": "user", "content": [FILE | {"file": {"file_data": "%"}}, TEXT]}]}, "base64"),
    ],
)
def test_a_bad_request_gets_a_sentence(served: Served, asked: dict[str, Any], says: str) -> None:
    form = {"model": "memagent", "messages": [{"role": "user", "content": LONG}]} | asked
    found = served.client.post("/v1/chat/completions", json=form)
    assert 400 <= found.status_code < 500
    assert says in found.json()["error"]["message"]


def test_identical_requests_share_one_reading(tmp_path: Path) -> None:
    chat = SlowChat()
    with serving(tmp_path, chat) as served:
        answers: list[str] = []
        threads = [_asking(served, answers) for _ in range(3)]
        while chat.now < 1:
            pass
        served.call(chat.gate.set)
        for thread in threads:
            thread.join()
    assert answers == [keeper.KEYS] * 3
    prompts = [request.messages for request in chat.requests]
    assert len(prompts) == len(set(prompts))


def test_a_client_that_leaves_cancels_its_reading(tmp_path: Path) -> None:
    chat = SlowChat()
    with serving(tmp_path, chat, limits=ServiceLimits(patience=0.0)) as served:
        form = {"model": "memagent", "messages": [{"role": "user", "content": LONG}]}
        with pytest.raises(Exception, match="timed out"):
            served.client.post("/v1/chat/completions", json=form, timeout=0.5)
        [reading] = _until(served, lambda each: each["state"] == "cancelled")
        assert reading["error"] is None
        served.call(chat.gate.set)
        again = served.client.post("/v1/chat/completions", json=form).json()
    assert again["choices"][0]["message"]["content"] == keeper.KEYS


def test_a_stream_that_is_left_cancels_its_reading(tmp_path: Path) -> None:
    chat = SlowChat()
    with serving(tmp_path, chat, limits=ServiceLimits(patience=0.0)) as served:
        form = {"model": "memagent", "messages": [{"role": "user", "content": LONG}], "stream": True}
        with served.client.stream("POST", "/v1/chat/completions", json=form) as response:
            assert next(response.iter_lines()).startswith("data: ")
        [reading] = _until(served, lambda each: each["state"] == "cancelled")
    assert reading["question"] == f"Some keys are hidden in this text.\n{keeper.QUESTION}"


def test_a_reading_of_the_page_is_not_cancelled_with_a_stream(tmp_path: Path) -> None:
    chat = SlowChat()
    with serving(tmp_path, chat, limits=ServiceLimits(patience=0.0)) as served:
        ask = {"question": keeper.QUESTION, "documents": [{"text": keeper.text(), "name": "a"}]}
        served.client.post("/api/readings", json=ask)
        form = {"model": "memagent", "stream": True, "memagent": ask, "messages": [{"role": "user", "content": "?"}]}
        with served.client.stream("POST", "/v1/chat/completions", json=form) as response:
            assert next(response.iter_lines()).startswith("data: ")
        served.call(chat.gate.set)
        [reading] = _until(served, lambda each: each["state"] not in ("queued", "reading"))
    assert (reading["state"], reading["answer"]) == ("done", keeper.KEYS)


def test_a_client_that_comes_back_finds_its_reading(tmp_path: Path) -> None:
    chat = SlowChat()
    with serving(tmp_path, chat, limits=ServiceLimits(patience=30.0)) as served:
        form = {"model": "memagent", "messages": [{"role": "user", "content": LONG}]}
        with pytest.raises(Exception, match="timed out"):
            served.client.post("/v1/chat/completions", json=form, timeout=0.5)
        served.call(chat.gate.set)
        again = served.client.post("/v1/chat/completions", json=form).json()
    assert again["choices"][0]["message"]["content"] == keeper.KEYS
    assert len(chat.requests) == len({request.messages for request in chat.requests})


def _asking(served: Served, answers: list[str]) -> Any:
    from threading import Thread

    form = {"model": "memagent", "messages": [{"role": "user", "content": LONG}]}

    def post() -> None:
        found = served.client.post("/v1/chat/completions", json=form).json()
        answers.append(found["choices"][0]["message"]["content"])

    thread = Thread(target=post)
    thread.start()
    return thread


def _until(served: Served, holds: Any) -> list[dict[str, Any]]:
    """Return the readings as soon as `holds` is true for all of them."""
    from time import monotonic, sleep

    until = monotonic() + 10
    while True:
        found: list[dict[str, Any]] = served.client.get("/api/readings").json()["readings"]
        if found and all(map(holds, found)):
            return found
        assert monotonic() < until, found
        sleep(0.02)


def test_a_bug_is_answered_in_openais_form(tmp_path: Path) -> None:
    def fail(_: object) -> str:
        raise ZeroDivisionError("a bug")

    with serving(tmp_path, perfect_chat(fail)) as served:
        form = {"model": "memagent", "messages": [{"role": "user", "content": "Hello"}]}
        found = served.client.post("/v1/chat/completions", json=form)
    assert (found.status_code, found.json()["error"]["code"]) == (500, "failed")
    assert "ZeroDivisionError" not in found.text
