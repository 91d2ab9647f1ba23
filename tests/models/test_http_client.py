"""Addresses, keys, proxies and certificates of the HTTP client, and several event loops."""

from __future__ import annotations

import asyncio
import re

import pytest
from fault_server import Body, FaultServer, Reply, ok, status

from memagent import Budget, MemoryAgent, text_document
from memagent.core.records import Message, Request
from memagent.errors import ModelError, UsageError
from memagent.models.http import HttpChat
from memagent.models.http_replies import Listing

QUESTION = Request((Message("user", "Where is the Louvre?\n"),), 64)
NAMES = ("OPENAI_API_KEY", "OPENAI_BASE_URL", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE")


@pytest.fixture(autouse=True)
def _own_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def ask(chat: HttpChat) -> str:
    async def go() -> str:
        try:
            return (await chat.complete(QUESTION)).text
        finally:
            await chat.close()

    return asyncio.run(go())


def test_a_chat_may_be_used_again_after_closing_and_in_another_event_loop() -> None:
    with FaultServer([ok()]) as server:
        chat = HttpChat("m", base_url=server.url, concurrency=1)
        assert [ask(chat) for _ in range(3)] == ["Paris"] * 3


def test_two_agents_share_a_chat() -> None:
    with FaultServer([lambda body: ok("\\boxed{Paris}")(body)]) as server:
        chat = HttpChat("m", base_url=server.url, concurrency=1)
        budget = Budget(segment=50, memory=50, answer=50)
        one, other = MemoryAgent(chat, budget=budget), MemoryAgent(chat, budget=budget)
        with text_document("The Louvre is in Paris. " * 20) as document:
            for agent in (one, other, one):
                assert agent.ask_many(["Where?", "Which city?"], document)[0].text == "Paris"
        one.close()
        other.close()


@pytest.mark.parametrize("query", ["?api-version=2024-10-21", "/?api-version=2024-10-21"])
@pytest.mark.parametrize("space", ["", " ", "\n"])
def test_a_query_in_the_base_url_is_sent_along(query: str, space: str) -> None:
    with FaultServer([ok()]) as server:
        assert ask(HttpChat("m", base_url=f"{space}{server.url}{query}{space}")) == "Paris"
        assert server.requests[0].query == "api-version=2024-10-21"


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:9", "socks://127.0.0.1:9/"])
def test_a_proxy_that_cannot_be_used(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(
        UsageError, match=r"^The proxy in ALL_PROXY cannot be used \(.*\): give an http:// proxy, or add"
    ):
        HttpChat("m", base_url="http://127.0.0.1:1/v1")


def test_certificates_that_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent.pem")
    with pytest.raises(UsageError, match="The certificates that SSL_CERT_FILE names cannot be read"):
        HttpChat("m", base_url="http://127.0.0.1:1/v1")


@pytest.mark.parametrize("key", ["sk-secret\nmore", "sk-“secret”", "sk-\x00secret"])
def test_a_key_that_is_none_is_not_told(key: str) -> None:
    with pytest.raises(UsageError) as caught:
        HttpChat("m", base_url="http://127.0.0.1:1/v1", api_key=key)
    assert str(caught.value).startswith("OPENAI_API_KEY contains a character that no key can have")
    assert "secret" not in str(caught.value)


def test_white_space_around_a_key_is_left_out() -> None:
    with FaultServer([ok()]) as server:
        ask(HttpChat("m", base_url=server.url, api_key=" sk-secret\n"))
        assert server.requests[0].authorization == "Bearer sk-secret"


@pytest.mark.parametrize("code", [403, 407, 502])
def test_a_proxy_on_the_way_is_named(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    page = status(code)

    def squid(body: Body) -> Reply:
        refused = page(body)
        return Reply(b"<html><body>Squid: access denied</body></html>", refused.status, "text/html")

    with FaultServer([squid]) as server:
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
        monkeypatch.setattr("memagent.models.http_failures.proxy_bypass", lambda host: False)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")  # so that the request reaches this server
        chat = HttpChat("m", base_url=server.url, retries=0)
        with pytest.raises(ModelError) as caught:
            ask(chat)
    assert re.fullmatch(
        rf"A proxy on the way to \S+ answered with status {code} instead of m: check HTTP_PROXY, or add the server to "
        r"NO_PROXY\.",
        str(caught.value),
    )


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        ({"data": [{"id": "m", "max_model_len": 8192}]}, [("m", 8192)]),
        ([{"id": "m", "context_length": 8192}], [("m", 8192)]),
        ({"models": [{"name": "m"}]}, [("m", None)]),
        ({"data": [{"id": "m", "max_model_len": None, "context_length": 8192}]}, [("m", 8192)]),
        ({"data": [{"id": "m", "max_model_len": "8192"}]}, [("m", 8192)]),
        ({"data": [{"id": "m", "loaded_context_length": 4096, "max_context_length": 131072}]}, [("m", 4096)]),
        ({"data": [{"id": None}, {"id": "m", "max_model_len": 8192}, 7]}, [("m", 8192)]),
    ],
)
def test_a_list_of_models_in_any_form(reply: object, found: list[tuple[str, int | None]]) -> None:
    assert [(each.id, each.window) for each in Listing.read(reply).data] == found


@pytest.mark.parametrize("absurd", [-1, 0, 1, 10**12, "128K", "long", [], {}, True, float("nan")])
def test_an_absurd_window_is_none(absurd: object) -> None:
    [served] = Listing.read({"data": [{"id": "m", "max_model_len": absurd}]}).data
    assert served.window is None


@pytest.mark.parametrize("reply", [{"data": None}, {}, "models", 7, None, {"data": {"id": "m"}}])
def test_what_is_no_list_of_models(reply: object) -> None:
    with pytest.raises(ValueError, match="no list"):
        Listing.read(reply)


def test_the_window_of_another_model_is_not_taken() -> None:
    from fault_server import json_reply

    listing = lambda _: json_reply({"data": [{"id": "other", "context_length": 2048}]})  # noqa: E731
    with FaultServer([ok()], listing) as server:
        chat = HttpChat("m", base_url=server.url)

        async def go() -> None:
            await chat.open()
            await chat.close()

        asyncio.run(go())
        assert chat.window is None
