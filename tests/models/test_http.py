"""HttpChat and the real `openai` client against a server that misbehaves on purpose."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from fault_server import PAGE, Body, Fault, FaultServer, Reply, cut, event_stream, hang, json_reply, ok, raw, status
from wanted import wanted

from memagent.core.budget import Budget
from memagent.core.prompts import prompts_for
from memagent.core.reading import Underway
from memagent.core.records import Completion, Message, Request, Segment, Usage
from memagent.core.segments import segments
from memagent.core.tokenizer import ByteTokenizer, EstimatedTokenizer
from memagent.errors import ModelError, UsageError, WindowOverflow
from memagent.models.chat import Chat, OnText, Sampling
from memagent.models.http import HttpChat
from memagent.readers.overwrite import overwrite

QUESTION = Request((Message("user", "Where is the Louvre?\n"),), 64, kind="answer")
STREAM = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
TLS = ssl.create_default_context()
GO_ON = "then try again."


@pytest.fixture(autouse=True)
def _own_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    # One TLS context, unused here, for all clients: reading the certificates takes longer than most of these tests.
    monkeypatch.setattr(ssl, "create_default_context", lambda *_, **__: TLS)


def ask(server: FaultServer, request: Request = QUESTION, on_text: OnText | None = None, **options: Any) -> Completion:
    """Return one completion of a fresh chat."""
    return asyncio.run(_ask(server.url, [request], on_text, **options))[0]


async def _ask(url: str, requests: Sequence[Request], on_text: OnText | None, **options: Any) -> list[Completion]:
    open_first = options.pop("open_first", False)
    chat = HttpChat("m", base_url=url, **({"timeout": 5, "retries": 0} | options))
    try:
        if open_first:
            await chat.open()
        return [await chat.complete(request, on_text) for request in requests]
    finally:
        await chat.close()


def opened(server: FaultServer, model: str = "m", **options: Any) -> HttpChat:
    async def go() -> HttpChat:
        chat = HttpChat(model, base_url=server.url, **({"timeout": 5, "retries": 0} | options))
        try:
            await chat.open()
        finally:
            await chat.close()
        return chat

    return asyncio.run(go())


def shown(stream: bool) -> OnText | None:
    return (lambda text: None) if stream else None


def sentence(server: FaultServer, error: BaseException) -> str:
    """Return the error message, with URL for the address of the server."""
    text = str(error).replace(server.url, "URL")
    assert "\n" not in text
    assert text.endswith(".")
    return text


def fails(
    faults: Sequence[Fault], stream: bool = False, models: Fault | None = None, **options: Any
) -> tuple[str, int]:
    """Return the message that a completion fails with, and the number of requests made."""
    with FaultServer(faults, models) as server:
        with pytest.raises(ModelError) as caught:
            ask(server, on_text=shown(stream), **options)
        assert not isinstance(caught.value, WindowOverflow)
        return sentence(server, caught.value), len(server.requests)


def test_is_a_chat() -> None:
    chat: Chat = HttpChat("m", base_url="http://127.0.0.1:1/v1")
    assert (chat.model, chat.window, chat.tokenizer.exact) == ("m", None, False)
    asyncio.run(chat.close())


# Requests


def test_whole_body() -> None:
    content = "Zwei  Räume\r\n\t“x” \\n 🙂 {memory} </section>\n"
    request = Request((Message("system", " s "), Message("user", content)), 77)
    with FaultServer([ok(" Paris.\n ")]) as server:
        completion = ask(server, request)
    assert server.bodies == [
        {
            "model": "m",
            "messages": [{"role": "system", "content": " s "}, {"role": "user", "content": content}],
            "temperature": 0.0,
            "max_tokens": 77,
        }
    ]
    assert json.dumps(content, ensure_ascii=False).encode() in server.requests[0].raw
    assert (completion.text, completion.finish) == (" Paris.\n ", "stop")
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (20, 3)
    assert 0 < completion.usage.seconds < 5


def test_streamed_body_with_sampling() -> None:
    texts: list[str] = []
    with FaultServer([ok(" Paris, France\n")]) as server:
        completion = ask(server, on_text=texts.append, sampling=Sampling(0.7, 0.9, 5))
    assert server.bodies == [
        {
            "model": "m",
            "messages": [{"role": "user", "content": "Where is the Louvre?\n"}],
            "temperature": 0.7,
            "top_p": 0.9,
            "seed": 5,
            "max_tokens": 64,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    ]
    assert texts == [" Par", " Paris, ", " Paris, Fran", " Paris, France\n"]
    assert completion.text == " Paris, France\n"
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (20, 3)


def test_half_a_surrogate_pair_is_replaced() -> None:
    with FaultServer([ok()]) as server:
        ask(server, Request((Message("user", "a\ud83db"),), 5))
    assert server.bodies[0]["messages"][0]["content"] == "a?b"


@pytest.mark.parametrize(
    ("given", "variable", "sent"), [(None, None, "none"), (None, "from-env", "from-env"), ("mine", "from-env", "mine")]
)
def test_key(monkeypatch: pytest.MonkeyPatch, given: str | None, variable: str | None, sent: str) -> None:
    if variable:
        monkeypatch.setenv("OPENAI_API_KEY", variable)
    with FaultServer([ok()]) as server:
        ask(server, api_key=given)
    assert server.requests[0].authorization == f"Bearer {sent}"


def test_no_key_and_no_server() -> None:
    says = r"^There is no key for gpt-5: set OPENAI_API_KEY, or give --base-url .*`memagent models`"
    with pytest.raises(UsageError, match=says):
        HttpChat("gpt-5", base_url=None)


@pytest.mark.parametrize(
    "url", ["localhost:8000/v1", "ftp://127.0.0.1/v1", "http://", "http://h:port/v1", "http://[::1"]
)
def test_base_url_that_is_none(url: str) -> None:
    with pytest.raises(UsageError, match=f"^{re.escape(url)} is not the address of a server"):
        HttpChat("m", base_url=url)


def test_password_in_the_base_url_is_not_told() -> None:
    with FaultServer([status(500)]) as server:
        url = server.url.replace("http://", "http://user:secret@")
        with pytest.raises(ModelError) as caught:
            asyncio.run(_ask(url, [QUESTION], None))
    assert "secret" not in str(caught.value)
    assert server.url in str(caught.value)


def test_concurrency_is_capped() -> None:
    async def go(server: FaultServer) -> None:
        chat = HttpChat("m", base_url=server.url, concurrency=3, timeout=5)
        await asyncio.gather(*(chat.complete(QUESTION) for _ in range(9)))
        await chat.close()

    with FaultServer([ok()], pause=0.1) as server:
        asyncio.run(go(server))
    assert (len(server.requests), server.most_at_once) == (9, 3)


# Dialects


@STREAM
def test_max_completion_tokens_for_good(stream: bool) -> None:
    def newer(body: Body) -> Reply:
        if "max_tokens" in body:
            message = (
                "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens'."
            )
            return status(400, message)(body)
        return ok()(body)

    with FaultServer([newer]) as server:
        completions = asyncio.run(_ask(server.url, [QUESTION, QUESTION], shown(stream)))
    assert [completion.text for completion in completions] == ["Paris", "Paris"]
    limits = [{k: v for k, v in body.items() if k.startswith("max")} for body in server.bodies]
    assert limits == [{"max_tokens": 64}, {"max_completion_tokens": 64}, {"max_completion_tokens": 64}]


@pytest.mark.parametrize("code", [400, 422])
def test_without_stream_options_for_good(code: int) -> None:
    refuses: Fault = lambda body: (status(code, "Extra: stream_options") if "stream_options" in body else ok())(body)  # noqa: E731
    with FaultServer([refuses]) as server:
        completions = asyncio.run(_ask(server.url, [QUESTION, QUESTION], shown(True)))
    assert ["stream_options" in body for body in server.bodies] == [True, False, False]
    assert [(c.text, c.usage.completion_tokens) for c in completions] == [("Paris", 2), ("Paris", 2)]


def test_both_refused() -> None:
    def old_and_new(body: Body) -> Reply:
        for name in ("max_tokens", "stream_options"):
            if name in body:
                return status(400, f"not max_tokens but max_completion_tokens, and no {name}")(body)
        return ok()(body)

    with FaultServer([old_and_new]) as server:
        assert ask(server, on_text=shown(True)).text == "Paris"
    assert len(server.requests) == 3


def test_server_that_ignores_stream() -> None:
    texts: list[str] = []
    with FaultServer([lambda body: ok("Paris")(body | {"stream": False})]) as server:
        completions = asyncio.run(_ask(server.url, [QUESTION, QUESTION], texts.append))
    assert ([completion.text for completion in completions], texts) == (["Paris", "Paris"], ["Paris", "Paris"])
    assert ["stream" in body for body in server.bodies] == [True, False, False]


# Replies


@STREAM
def test_length_is_marked(stream: bool) -> None:
    with FaultServer([ok("Par", finish="length")]) as server:
        completion = ask(server, on_text=shown(stream))
    assert (completion.text, completion.finish) == ("Par", "length")


@STREAM
@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        {"prompt_tokens": 0, "completion_tokens": 0},
        {"prompt_tokens": -5, "completion_tokens": 10**12},
        {"prompt_tokens": 10**9, "completion_tokens": None},
        {"prompt_tokens": "20", "completion_tokens": 3.5},
        "none",
    ],
)
def test_usage_missing_or_wrong_is_estimated(usage: object, stream: bool) -> None:
    with FaultServer([ok("Paris!", usage=usage)]) as server:
        completion = ask(server, on_text=shown(stream), tokenizer=ByteTokenizer())
    assert completion.usage == Usage(32 + 8 + 21, 6, completion.usage.seconds)


def counting(body: Body) -> int:
    """Count the tokens of the prompt, at four characters each."""
    return sum(len(message["content"]) for message in body["messages"]) // 4


def counts(tell: Callable[[int], int]) -> Fault:
    """Reply with a token count of `tell(n)` to a prompt of n tokens."""
    return lambda body: ok(usage={"prompt_tokens": tell(counting(body)), "completion_tokens": 2})(body)


def test_estimating_tokenizer_is_corrected() -> None:
    request = Request((Message("user", "x" * 4000),), 64)
    estimated = EstimatedTokenizer()
    with FaultServer([counts(lambda true: true)]) as server:
        completion = ask(server, request, tokenizer=estimated)
    assert estimated.bytes_per_token == 4.0
    assert [counting(body) for body in server.bodies] == [1000, 1250]  # the second is a probe
    assert completion.usage.prompt_tokens == 2250


@pytest.mark.parametrize("tokens", [0, 1, 100, 4500, 10**9])
def test_absurd_usage_corrects_nothing(tokens: int) -> None:
    request = Request((Message("user", "x" * 4000),), 64)
    estimated = EstimatedTokenizer()
    with FaultServer([ok(usage={"prompt_tokens": tokens, "completion_tokens": 2})]) as server:
        ask(server, request, tokenizer=estimated)
    assert estimated.bytes_per_token == 3.0


# Reasoning


@STREAM
@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("<think>\nhm, London? no\n</think>\n\nParis\n", "Paris\n"),
        ("\n<think></think>Paris", "Paris"),
        ("hm, London? no\n</think>\n\nParis", "Paris"),
        ("Say <think>hm</think> or not", "Say <think>hm</think> or not"),
        ("<thin ice>", "<thin ice>"),
        ("a < b", "a < b"),
    ],
)
def test_think_block(content: str, text: str, stream: bool) -> None:
    texts: list[str] = []
    with FaultServer([ok(content)]) as server:
        assert ask(server, on_text=texts.append if stream else None).text == text
    if stream:
        assert texts[-1] == text
    if content.lstrip().startswith("<think>"):
        assert all(text.startswith(shown) for shown in texts)


@STREAM
@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_reasoning_field_is_left_out(name: str, stream: bool) -> None:
    texts: list[str] = []
    with FaultServer([ok("Paris", message={name: "London? no"})]) as server:
        assert ask(server, on_text=texts.append if stream else None).text == "Paris"
    assert texts == (["Pari", "Paris"] if stream else [])


SEGMENT = Segment(0, 1, "x", 1)


@STREAM
@pytest.mark.parametrize(("segment", "flag"), [(None, "--answer-tokens"), (SEGMENT, "--memory-tokens")])
@pytest.mark.parametrize(
    "fault",
    [
        ok("<think>hm, London", finish="length"),
        ok("<think>hm, London</think>\n", finish="length"),
        ok(None, finish="length", message={"reasoning_content": "hm, London"}),
        ok("", finish="length", message={"reasoning": "hm, London"}),
        ok("", finish="length"),
    ],
    ids=["open", "closed", "content-none", "content-empty", "hidden"],
)
def test_all_spent_on_reasoning(fault: Fault, segment: Segment | None, flag: str, stream: bool) -> None:
    with FaultServer([fault]) as server:
        with pytest.raises(ModelError) as caught:
            ask(
                server,
                Request(QUESTION.messages, 1024, segment, kind="memorize" if segment else "answer"),
                shown(stream),
            )
        assert sentence(server, caught.value) == (
            "m at URL spent all 1,024 tokens on reasoning and wrote no text: "
            f"raise {flag}, or switch its reasoning off."
        )


@STREAM
def test_reasoning_alone(stream: bool) -> None:
    told = "m at URL sent its reasoning and no text: check the server's reasoning parser, " + GO_ON
    assert fails([ok(None, message={"reasoning": "all"})], stream) == (told, 1)


# Retries by the client


@STREAM
def test_429_waits_as_told(stream: bool) -> None:
    with FaultServer([status(429, headers={"Retry-After": "1"}), ok()]) as server:
        completion = ask(server, on_text=shown(stream), retries=2)
    assert (completion.text, len(server.requests)) == ("Paris", 2)
    assert server.requests[1].time - server.requests[0].time >= 1.0
    assert completion.usage.seconds >= 1.0
    assert server.requests[0].raw == server.requests[1].raw


@STREAM
def test_500_then_ok(stream: bool) -> None:
    with FaultServer([status(500), ok()]) as server:
        assert ask(server, on_text=shown(stream), retries=1).text == "Paris"
    assert len(server.requests) == 2


def test_500_for_ever() -> None:
    told = f"m at URL failed with status 500 in 2 tries: “CUDA error”: look at the server's log, {GO_ON}"
    assert fails([status(500, "CUDA error.")], retries=1) == (told, 2)


def test_429_for_ever() -> None:
    faults = [status(429, "Slow down", headers={"Retry-After": "1"})]
    told = "m at URL had too many requests or no quota left (429) in 2 tries: “Slow down”: "
    assert fails(faults, retries=1) == (told + f"wait, or make fewer calls at once, {GO_ON}", 2)


def test_wait_too_long_is_not_waited_for() -> None:
    text, requests = fails([status(429, headers={"Retry-After": "86400"})], retries=5)
    assert "(429) in 1 try: “no”: wait" in text
    assert requests == 1


@STREAM
def test_hang(stream: bool) -> None:
    told = f"m at URL sent nothing for 0.2 seconds in 2 tries: check whether the server is overloaded, {GO_ON}"
    assert fails([hang], stream, timeout=0.2, retries=1) == (told, 2)


def test_cut_body_is_asked_for_again() -> None:
    with FaultServer([cut(ok()), ok()]) as server:
        assert ask(server, retries=1).text == "Paris"
    assert len(server.requests) == 2


def test_cut_body_for_ever() -> None:
    text, requests = fails([cut(ok())], retries=1)
    assert re.fullmatch(
        r"m at URL dropped the connection in 2 tries \(peer closed connection .*\): "
        r"check that the server is still running, then try again\.",
        text,
    )
    assert requests == 2


# Replies that cannot be used


@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
def test_cut_stream(part: float) -> None:
    broken = cut(ok("Paris is where it has been since 1793."), part)
    text, requests = fails([broken], stream=True, retries=1)
    assert text.startswith("m at URL dropped the connection in 1 try (peer closed connection")
    assert requests == 2
    with FaultServer([broken, ok()]) as server:
        assert ask(server, on_text=shown(True), retries=1).text == "Paris"


CUT = (
    "m at URL broke off its reply in the middle, and none of it is kept: "
    f"check that the server is still running, {GO_ON}"
)


@pytest.mark.parametrize("part", [0.3, 0.5, 0.55, 0.6, 0.8])
def test_stream_cut_silently(part: float) -> None:
    texts: list[str] = []
    with FaultServer([cut(ok("Paris is where it has been."), part, silent=True)]) as server:
        with pytest.raises(ModelError) as caught:
            ask(server, on_text=texts.append, retries=1)
        assert sentence(server, caught.value) == CUT
    assert texts
    assert len(server.requests) == 2


@STREAM
def test_reply_without_a_finish_reason_is_whole(stream: bool) -> None:
    with FaultServer([ok("Paris", finish=None)]) as server:
        completion = ask(server, on_text=shown(stream))
    assert (completion.text, completion.finish) == ("Paris", "stop")


@STREAM
def test_cancelled(stream: bool) -> None:
    """A cancelled call frees its slot and its connection."""

    async def go(server: FaultServer) -> str:
        chat = HttpChat("m", base_url=server.url, concurrency=1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(chat.complete(QUESTION, shown(stream)), 0.2)
        completion = await chat.complete(QUESTION, shown(stream))
        await chat.close()
        return completion.text

    with FaultServer([hang, ok()]) as server:
        assert asyncio.run(go(server)) == "Paris"


def test_error_of_the_callback_is_the_callers() -> None:
    def on_text(text: str) -> None:
        raise ValueError(text)

    with FaultServer([ok()]) as server, pytest.raises(ValueError, match=r"^Pari$"):
        ask(server, on_text=on_text)


def test_stream_with_an_error_in_it() -> None:
    events = [{"choices": [{"delta": {"content": "Pa"}}]}, {"error": {"message": "engine died", "code": 500}}]
    told = f"m at URL failed: “engine died”: look at the server's log, {GO_ON}"
    assert fails([lambda _: event_stream(events)], stream=True) == (told, 1)


NO_COMPLETION = (
    "m at URL sent a reply that is not a chat completion: check that --base-url points to an OpenAI-compatible server, "
    + GO_ON
)


@STREAM
@pytest.mark.parametrize(
    "body",
    [
        '{"choices": [',
        "",
        "[1, 2]",
        "42",
        '{"choices": "all"}',
        '{"choices": [{"message": {"content": ["a"]}}]}',
        "\xff",
    ],
)
def test_malformed_json(body: str, stream: bool) -> None:
    assert fails([raw(body)], stream)[0] == NO_COMPLETION


@pytest.mark.parametrize("event", ["{", '"text"', '{"choices": {"a": 1}}', '{"choices": [{"delta": {"content": 5}}]}'])
def test_malformed_event(event: str) -> None:
    assert fails([raw(f"data: {event}\n\n", "text/event-stream")], stream=True) == (CUT, 1)


@STREAM
def test_web_page(stream: bool) -> None:
    assert fails([PAGE], stream)[0] == "URL answered with a web page instead of a reply from m: check --base-url."


def test_web_page_where_v1_is_missing() -> None:
    with FaultServer([ok()], outside=PAGE) as server, pytest.raises(ModelError) as caught:
        asyncio.run(_ask(server.url.removesuffix("/v1"), [QUESTION], None, open_first=True))
    root = server.url.removesuffix("/v1")
    assert str(caught.value) == (
        f"{root} answered with a web page instead of a reply from m: --base-url should probably end in /v1."
    )


def test_404_where_v1_is_missing() -> None:
    with FaultServer([ok()]) as server, pytest.raises(ModelError) as caught:
        asyncio.run(_ask(server.url.removesuffix("/v1"), [QUESTION], None, open_first=True))
    assert str(caught.value) == (
        f"{server.url.removesuffix('/v1')} does not know this model or address (404 for m: “no”): check --model, and "
        "whether --base-url should end in /v1."
    )


def test_error_with_status_200() -> None:
    told = f"m at URL failed: “upstream is down”: look at the server's log, {GO_ON}"
    assert fails([lambda _: json_reply({"error": {"message": "upstream is down"}})]) == (told, 1)


EMPTY: dict[str, Fault] = {
    "empty": ok(""),
    "blank": ok(" \n"),
    "null": ok(None),
    "no choice": lambda _: json_reply({"choices": []}),
    "choices null": lambda _: json_reply({"choices": None}),
    "no message": lambda _: json_reply({"choices": [{"finish_reason": "stop"}]}),
    "malformed": raw('{"choices": ['),
    "no body": raw(""),
    "error in a 200": lambda _: json_reply({"error": {"message": "upstream is down", "code": 502}}),
    "detail in a 200": lambda _: json_reply({"detail": "the model is loading"}),
    "aborted": ok("Par", finish="abort"),
    "network": ok("Par", finish="network_error"),
    "unheard of": ok("Par", finish="gremlins"),
}


@STREAM
@pytest.mark.parametrize("fault", EMPTY)
def test_a_reply_that_cannot_be_used_is_asked_for_again(fault: str, stream: bool) -> None:
    with FaultServer([EMPTY[fault], ok()]) as server:
        completion = ask(server, on_text=shown(stream), retries=1)
    assert (completion.text, len(server.requests)) == ("Paris", 2)


@STREAM
def test_an_empty_reply_for_ever_is_a_text_but_no_answer(stream: bool) -> None:
    with FaultServer([ok("")]) as server:
        assert (
            ask(server, replace(QUESTION, segment=SEGMENT, kind="memorize"), on_text=shown(stream), retries=1).text
            == ""
        )
        assert len(server.requests) == 2
    told = f"m at URL sent an empty reply: check that it is a chat model, {GO_ON}"
    assert fails([ok("")], stream, retries=1) == (told, 2)


@STREAM
@pytest.mark.parametrize("finish", ["length", "MAX_TOKENS", "model_length", "max_output_tokens", "Length"])
def test_every_spelling_of_length(finish: str, stream: bool) -> None:
    with FaultServer([ok("Par", finish=finish)]) as server:
        assert ask(server, on_text=shown(stream)).finish == "length"


@STREAM
@pytest.mark.parametrize("finish", ["stop", "STOP", "eos", "eos_token", "end_turn", "stop_sequence", "COMPLETE"])
def test_every_spelling_of_stop(finish: str, stream: bool) -> None:
    with FaultServer([ok("Paris", finish=finish)]) as server:
        assert ask(server, on_text=shown(stream)).finish == "stop"


@STREAM
@pytest.mark.parametrize("finish", ["content_filter", "SAFETY", "tool_calls", "function_call", "sensitive"])
def test_filtered(finish: str, stream: bool) -> None:
    told = f'm at URL broke off its reply (finish reason "{finish}"): rephrase the question, or use another model, '
    assert fails([ok("Par", finish=finish)], stream, retries=2) == (told + GO_ON, 1)


@STREAM
def test_refusal(stream: bool) -> None:
    told = "m at URL refused: “I cannot help.”: rephrase the question, or use another model, "
    assert fails([ok(None, message={"refusal": "I cannot help."})], stream, retries=2) == (told + GO_ON, 1)


def test_content_in_parts() -> None:
    parts = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Par"}, {"type": "text", "text": "is"}]
    with FaultServer([ok(None, message={"content": parts})]) as server:
        assert ask(server).text == "Paris"


def test_wrong_key() -> None:
    told = "URL refused the key for m (401: “Incorrect API key provided: sk-…”): check OPENAI_API_KEY."
    assert fails([status(401, "Incorrect API key provided: sk-abc")], retries=2) == (told, 1)


def test_a_server_that_repeats_the_key_is_not_quoted_on_it() -> None:
    text, _ = fails([status(400, "Bearer verysecret is no token of ours")], api_key="verysecret")
    assert "“Bearer … is no token of ours”" in text


@pytest.mark.parametrize(
    "said", ["Country, region, or territory not supported", "Your input was flagged for harassment"]
)
def test_forbidden_says_why(said: str) -> None:
    told = f"URL refused the request for m (403: “{said}”): check OPENAI_API_KEY and what the account may use."
    assert fails([status(403, said)]) == (told, 1)


@pytest.mark.parametrize(
    "said",
    [
        "Unsupported parameter: 'temperature' is not supported with this model.",
        "Unsupported value: 'temperature' does not support 0.0. Only the default (1) value is supported.",
    ],
)
def test_refused_temperature_is_left_out_and_said(said: str) -> None:
    async def go(server: FaultServer) -> tuple[list[str], list[str]]:
        chat = HttpChat("m", base_url=server.url, retries=0)
        texts = [(await chat.complete(QUESTION)).text for _ in range(2)]
        await chat.close()
        return texts, chat.warnings

    refuses: Fault = lambda body: (status(400, said) if "temperature" in body else ok())(body)  # noqa: E731
    with FaultServer([refuses]) as server:
        assert asyncio.run(go(server)) == (
            ["Paris", "Paris"],
            ["m does not accept a temperature of 0; it used its own."],
        )
    assert ["temperature" in body for body in server.bodies] == [True, False, False]


def test_a_temperature_out_of_range_is_refused() -> None:
    told = (
        "m at URL refused the request (400: “temperature must be between 0 and 2”): "
        "change the setting that it refuses, "
    )
    assert fails([status(400, "temperature must be between 0 and 2")], sampling=Sampling(5)) == (told + GO_ON, 1)


def test_refused_model() -> None:
    faults = [status(400, "Server is pinned to 'a'; requested 'm'")]  # transformers serve
    told = (
        "m at URL refused the request (400: “Server is pinned to 'a'; requested 'm'”): "
        "change the setting that it refuses, "
    )
    assert fails(faults) == (told + GO_ON, 1)


# The window

OVERFLOWS: dict[str, Fault] = {
    "openai": status(
        400,
        {
            "error": {
                "message": "This model's maximum context length is 8192 tokens. However, your messages have 9001.",
                "type": "invalid_request_error",
                "param": "messages",
                "code": "context_length_exceeded",
            }
        },
    ),
    "vllm": status(
        400,
        {
            "object": "error",
            "message": "'max_tokens' or 'max_completion_tokens' is too large: 64. This model's maximum context "
            "length is 2048 tokens and your request has 2040 input tokens (64 > 2048 - 2040).",
            "type": "BadRequestError",
            "code": 400,
        },
    ),
    "llama.cpp": status(
        400,
        {
            "error": {
                "code": 400,
                "message": "the request exceeds the available context size, try increasing it",
                "type": "exceed_context_size_error",
                "n_prompt_tokens": 9001,
                "n_ctx": 4096,
            }
        },
    ),
    "llama.cpp-500": status(500, "the request exceeds the available context size. try increasing the context size"),
    "sglang": status(
        400,
        {
            "object": "error",
            "message": "The input (9001 tokens) is longer than the model's context length (8192 tokens).",
        },
    ),
    "sglang-requested": status(400, "Requested token count exceeds the model's maximum context length of 8192 tokens."),
    "tgi": status(422, {"error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096."}),
    "groq": status(413, "Request too large for model `m`, please reduce your message size and try again."),
    "nginx": lambda _: Reply(b"<html>413 Request Entity Too Large</html>", 413, "text/html"),
    "anthropic": status(400, "prompt is too long: 208310 tokens > 200000 maximum"),
    "gemini": status(400, "The input token count (9001) exceeds the maximum number of tokens allowed (8192)."),
    "cohere": status(400, {"message": "too many tokens: size limit exceeded by 10 tokens."}),
    "responses": status(400, "Your input exceeds the context window of this model."),
    "fastapi": status(422, {"detail": "context_length_exceeded"}),
    "gateway": lambda _: json_reply({"error": {"message": "maximum context length is 8192", "code": 400}}),
}


@STREAM
@pytest.mark.parametrize("dialect", OVERFLOWS)
def test_overflow(dialect: str, stream: bool) -> None:
    with FaultServer([OVERFLOWS[dialect]]) as server:
        with pytest.raises(WindowOverflow) as caught:
            ask(server, on_text=shown(stream), retries=0 if dialect == "llama.cpp-500" else 5)
        text = sentence(server, caught.value)
        assert len(server.requests) == (2 if dialect == "gateway" and stream else 1)
    assert text.startswith("The prompt is longer than the window of m at URL")
    assert text.endswith(": lower --segment-tokens.")


def test_overflow_in_a_stream() -> None:
    events = [{"error": {"message": "This model's maximum context length is 8192 tokens.", "code": 400}}]
    with FaultServer([lambda _: event_stream(events)]) as server, pytest.raises(WindowOverflow):
        ask(server, on_text=shown(True))


@pytest.mark.parametrize(
    "message", ["max_tokens is too large: 100000. This model supports at most 4096 completion tokens", "bad role"]
)
def test_other_refusals_are_no_overflow(message: str) -> None:
    assert f"refused the request (400: “{message}”)" in fails([status(400, message)])[0]


def test_exact_count_overflows_without_a_call() -> None:
    with FaultServer([ok()]) as server:
        with pytest.raises(WindowOverflow) as caught:
            ask(server, tokenizer=ByteTokenizer(), window=124)
        assert sentence(server, caught.value) == (
            "The prompt has 61 tokens and the completion may have 64, more than the 124 in the window of m at URL: "
            "lower --segment-tokens."
        )
        assert len(server.requests) == 0
        assert ask(server, tokenizer=ByteTokenizer(), window=125).text == "Paris"
        assert ask(server, window=10).text == "Paris"  # only an estimate: the server decides


def test_reading_over_a_small_window() -> None:
    """A segment that overflows is read as halves, and nothing of the document is lost."""
    document = "".join(f"Sentence number {i} says little. " for i in range(40))
    seen: list[str] = []

    def small(body: Body) -> Reply:
        content = body["messages"][0]["content"]
        if len(content) > 900:
            return OVERFLOWS["vllm"](body)
        seen.extend(re.findall(r"<section>\n(.*)\n</section>", content, re.DOTALL))
        return ok(f"memory {len(seen)}" if "<section>" in content else r"\boxed{40}")(body)

    async def read(server: FaultServer) -> str:
        chat = HttpChat("m", base_url=server.url, tokenizer=ByteTokenizer(), timeout=5)
        parts = segments([document], 700, chat.tokenizer)
        under = Underway(overwrite("How many sentences are there?", parts, Budget(), prompts_for()))
        try:
            while under.wanted:
                try:
                    completion = await chat.complete(wanted(under))
                except WindowOverflow as error:
                    under.overflow(error)
                else:
                    under.take(completion)
            return under.answer
        finally:
            await chat.close()

    with FaultServer([small]) as server:
        assert asyncio.run(read(server)) == r"\boxed{40}"
    assert "".join(seen) == document
    assert len(seen) == 4
    assert len(server.requests) == 2 + 4 + 1 + 1  # one is a probe; the server refuses it, so it cuts nothing silently
    assert "<memory>\nmemory 4\n</memory>" in server.bodies[-1]["messages"][0]["content"]


# Opening


def listing(*entries: Mapping[str, object]) -> Fault:
    return lambda _: json_reply({"object": "list", "data": list(entries)})


@pytest.mark.parametrize(
    ("entries", "window"),
    [
        ([{"id": "m", "max_model_len": 32768}, {"id": "n", "max_model_len": 5}], 32768),
        ([{"id": "m.gguf", "meta": {"n_ctx": 4096, "n_ctx_train": 131072}}], 4096),
        ([{"id": "m.gguf", "meta": {"n_ctx_train": 131072}}], 131072),
        ([{"id": "m:latest"}, {"id": "n", "max_model_len": 5}], None),
        ([{"id": "a", "max_model_len": 5}, {"id": "b", "max_model_len": 5}], None),
        ([{"id": "m", "max_model_len": "long", "meta": None}], None),
        ([{"id": "m", "context_length": 8192}], 8192),
        ([], None),
    ],
)
def test_window_is_learnt(entries: list[dict[str, object]], window: int | None) -> None:
    with FaultServer([ok()], listing(*entries)) as server:
        assert opened(server).window == window
        assert server.listings == 1
        assert opened(server, window=777).window == 777
    assert server.requests == []


@pytest.mark.parametrize(
    "models",
    [
        status(404),
        status(405),
        status(501),
        status(500),
        status(429),
        raw("{"),
        PAGE,
        raw("[]"),
        raw("7"),
        raw('{"data": 5}'),
    ],
)
def test_server_without_a_listing(models: Fault) -> None:
    with FaultServer([ok()], models) as server:
        assert opened(server).window is None
        assert ask(server, open_first=True).text == "Paris"


def test_dead_server() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        started = time.perf_counter()
        with pytest.raises(ModelError) as caught:
            asyncio.run(_ask(url, [], None, open_first=True, retries=5))
    assert time.perf_counter() - started < 3
    assert str(caught.value) == (
        f"No model server answers at {url} (All connection attempts failed): start the server, or check --base-url."
    )


@pytest.mark.parametrize(
    ("models", "told"),
    [
        (status(401), "URL refused the key for m (401: “no”): check OPENAI_API_KEY."),
        (
            status(503, "Loading model"),
            f"m at URL failed with status 503 in 1 try: “Loading model”: look at the server's log, {GO_ON}",
        ),
    ],
)
def test_listing_refused(models: Fault, told: str) -> None:
    with FaultServer([ok()], models) as server:
        with pytest.raises(ModelError) as caught:
            opened(server)
        assert sentence(server, caught.value) == told


NOT_FOUND = status(
    404, {"error": {"message": "The model `m` does not exist.", "type": "NotFoundError", "code": "model_not_found"}}
)


def test_model_that_is_not_served() -> None:
    told = ("URL does not serve m: it serves smollm2, qwen3.", 1)
    assert fails([NOT_FOUND], models=listing({"id": "qwen3"}, {"id": "smollm2"}), open_first=True) == told


def test_other_refusals_of_an_alias_do_not_blame_the_model() -> None:
    text, _ = fails([status(400, "bad temperature")], models=listing({"id": "a"}, {"id": "b"}), open_first=True)
    assert text == f"m at URL refused the request (400: “bad temperature”): change the setting that it refuses, {GO_ON}"


def test_of_many_models_the_likely_ones_are_named() -> None:
    entries = listing(*({"id": f"model-{i}"} for i in range(400)), {"id": "mm"})
    text, _ = fails([NOT_FOUND], models=entries, open_first=True)
    assert text.startswith("URL does not serve m: it serves mm, model-")
    assert text.endswith(" and others.")
    assert len(text) < 200


def test_model_not_found_without_a_listing() -> None:
    assert fails([NOT_FOUND], open_first=True) == (
        "URL does not know this model or address (404 for m: “The model `m` does not exist”): check --model, and "
        "whether --base-url should end in /v1.",
        1,
    )


def test_alias_that_is_not_listed_is_served() -> None:
    with FaultServer([ok()], listing({"id": "a"}, {"id": "b"})) as server:
        assert ask(server, open_first=True).text == "Paris"
