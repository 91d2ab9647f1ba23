"""Prompts that fit the window, in front of a model's server that behaves and misbehaves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keeper
import openai
import pytest
from fault_server import Fault, FaultServer, cut, ok, status
from served import serving

from memagent.models.http import HttpChat


@contextmanager
def in_front_of(folder: Path, *faults: Fault, window: int = 8000) -> Iterator[tuple[openai.OpenAI, FaultServer]]:
    """Run a service in front of a server that commits these faults, one for each request."""
    with FaultServer(list(faults)) as server:
        chat = HttpChat("the-model", base_url=server.url, api_key="upstream-key", window=window, retries=0)
        with (
            serving(folder, chat) as served,
            openai.OpenAI(base_url=f"{served.url}/v1", api_key="own-key", max_retries=0) as client,
        ):
            yield client, server


def ask(client: openai.OpenAI, content: str = "Hello", **more: Any) -> Any:
    return client.chat.completions.create(model="memagent", messages=[{"role": "user", "content": content}], **more)


def test_a_request_arrives_as_the_client_wrote_it(tmp_path: Path) -> None:
    more: dict[str, Any] = {"seed": -1, "max_tokens": 7, "temperature": 2.5, "logit_bias": {"5": 1}, "n": 2}
    with in_front_of(tmp_path, ok("Paris")) as (client, server):
        found = ask(client, **more, extra_body={"own": [1], "memagent": {"read": False}})
        [request] = server.requests
    assert found.choices[0].message.content == "Paris"
    messages = [{"role": "user", "content": "Hello"}]
    assert request.body == {"model": "the-model", "messages": messages, **more, "own": [1]}
    assert request.authorization == "Bearer upstream-key"


def test_a_stream_arrives_as_the_server_wrote_it(tmp_path: Path) -> None:
    with in_front_of(tmp_path, ok("Paris, of course.")) as (client, server):
        chunks = list(ask(client, stream=True, stream_options={"include_usage": True}))
        assert server.requests[0].body["stream"] is True
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "Paris, of course."
    assert chunks[-1].usage.total_tokens == 23


def test_a_refusal_arrives_with_its_status_and_headers(tmp_path: Path) -> None:
    with (
        in_front_of(tmp_path, status(429, "slow down", headers={"Retry-After": "7"})) as (client, _),
        pytest.raises(openai.RateLimitError, match="slow down") as error,
    ):
        ask(client)
    assert error.value.response.headers["retry-after"] == "7"


@pytest.mark.parametrize("silent", [False, True])
def test_a_reply_that_breaks_off_is_an_error(tmp_path: Path, silent: bool) -> None:
    with in_front_of(tmp_path, cut(ok("Paris"), silent=silent)) as (client, _):
        if silent:  # nobody can see that bytes are missing, but the rest is not JSON
            with pytest.raises(ValueError):  # noqa: PT011
                ask(client)
        else:
            with pytest.raises(openai.APIStatusError, match="broke off its reply") as error:
                ask(client)
            assert error.value.status_code == 502


@pytest.mark.parametrize("silent", [False, True])
def test_a_stream_that_breaks_off_is_an_error(tmp_path: Path, silent: bool) -> None:
    with (
        in_front_of(tmp_path, cut(ok("Paris, of course, what else?"), silent=silent)) as (client, _),
        pytest.raises(openai.APIError, match="broke off its reply"),
    ):
        list(ask(client, stream=True))


OVERFLOW = status(400, "This model's maximum context length is 8000 tokens, however you requested 9000 tokens.")


def test_a_prompt_that_the_server_finds_too_long_is_read(tmp_path: Path) -> None:
    """The service has no tokenizer, so it can take a prompt for short enough that is not."""
    replies = [OVERFLOW, *[ok("\n".join(keeper.FACTS))] * 40]
    with in_front_of(tmp_path, *replies) as (client, server):
        found = ask(client, f"{keeper.text(80)}\n{keeper.QUESTION}")
        assert len(server.requests) > 2
    assert found.model_extra["memagent"]["question"].endswith(keeper.QUESTION)


def test_a_short_prompt_that_asks_for_too_much_is_not_read(tmp_path: Path) -> None:
    with in_front_of(tmp_path, OVERFLOW) as (client, server):
        with pytest.raises(openai.BadRequestError, match="maximum context length"):
            ask(client, max_tokens=100_000)
        assert len(server.requests) == 1
