from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from memagent.core.records import Message, Request
from memagent.errors import ModelError, UsageError, WindowOverflow
from memagent.models.connect import connect
from memagent.models.scripted import ScriptedChat, load_script

REQUEST = Request((Message("user", "añ"),), 5)


def complete(chat: ScriptedChat, request: Request = REQUEST) -> str:
    return asyncio.run(chat.complete(request)).text


def test_it_replies_in_order_and_counts_bytes() -> None:
    chat = ScriptedChat(["one", "é"])
    assert complete(chat) == "one"
    completion = asyncio.run(chat.complete(REQUEST))
    assert completion.text == "é"
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (3, 2)
    assert chat.requests == [REQUEST, REQUEST]
    with pytest.raises(ModelError, match="no replies left"):
        complete(chat)


def test_it_may_reply_to_what_is_asked_and_streams_it() -> None:
    seen: list[str] = []
    chat = ScriptedChat(lambda request: request.messages[0].content.upper())
    asyncio.run(chat.complete(REQUEST, seen.append))
    assert seen == ["AÑ"]


def test_its_window_overflows() -> None:
    assert complete(ScriptedChat(["x"], window=8)) == "x"
    with pytest.raises(WindowOverflow, match="3 tokens; the window holds 7"):
        complete(ScriptedChat(["x"], window=7))


def test_a_script_is_a_file_of_json_strings(tmp_path: Path) -> None:
    path = tmp_path / "script.jsonl"
    path.write_text('"one"\n\n"two\\n"\n')
    chat = connect(f"scripted:{path}")
    assert isinstance(chat, ScriptedChat)
    assert [complete(chat) for _ in range(3)] == ["one", "two\n", "two\n"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b'"a"\nb\n', "Line 2 .* is not JSON"),
        (b"1\n", "not a JSON string"),
        (b"\xff", "cannot be read"),
    ],
)
def test_a_bad_script_is_refused(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "script.jsonl"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=sentence):
        load_script(path)


def test_a_missing_script_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        load_script(tmp_path / "none")
