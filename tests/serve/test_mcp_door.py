"""MCP, with the official client, over HTTP and over stdio."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import keeper
import pytest
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from served import serving

from memagent.serve.guard import Rules
from memagent.serve.server import Doors

TOOLS = {
    "start_reading": False,
    "reading_status": True,
    "get_answer": True,
    "list_readings": True,
    "cancel_reading": False,
}
"""Name of each tool, and whether the tool is read-only."""


async def read(session: ClientSession, **asked: Any) -> dict[str, Any]:
    """Start a reading, wait until it ends, and return its answer."""
    await session.initialize()
    status = await call(session, "start_reading", question=keeper.QUESTION, **asked)
    async with asyncio.timeout(60):
        while status["state"] in ("queued", "reading"):
            await asyncio.sleep(0.05)
            status = await call(session, "reading_status", id=status["id"])
    assert (status["state"], status["read"]) == ("done", 1.0)
    return await call(session, "get_answer", id=status["id"])


async def call(session: ClientSession, name: str, **arguments: Any) -> dict[str, Any]:
    found = await session.call_tool(name, arguments)
    assert not found.is_error, found.content
    content: dict[str, Any] | None = found.structured_content
    assert content is not None
    return content


async def refusal(session: ClientSession, name: str, **arguments: Any) -> str:
    found = await session.call_tool(name, arguments)
    assert found.is_error
    return found.content[0].text  # type: ignore[union-attr]


def test_tools_over_http(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "keeper.txt").write_text(keeper.text())
    (tmp_path / "secret.txt").write_text("secret")

    async def use(url: str) -> None:
        async with streamable_http_client(f"{url}/mcp") as (receive, send), ClientSession(receive, send) as session:
            answer = await read(session, paths=[str(root / "keeper.txt")])
            assert answer["answer"] == keeper.KEYS
            assert {each["document"] for each in answer["citations"]} == {"keeper.txt"}
            tools = (await session.list_tools()).tools
            assert {tool.name: tool.annotations and tool.annotations.read_only_hint for tool in tools} == TOOLS
            assert all(tool.output_schema for tool in tools)
            listed = (await call(session, "list_readings"))["readings"]
            assert [each["documents"] for each in listed] == [["keeper.txt"]]
            assert (await call(session, "cancel_reading", id=listed[0]["id"]))["state"] == "done"
            assert "no reading none" in await refusal(session, "get_answer", id="none")
            assert "nothing to read" in await refusal(session, "start_reading", question="Who?")
            for path in (str(tmp_path / "secret.txt"), str(root / ".." / "secret.txt"), "/etc/passwd"):
                said = await refusal(session, "start_reading", question="Who?", paths=[path])
                assert "is not a file in a folder that this service may read" in said

    with serving(tmp_path / "service", doors=Doors(roots=(root,))) as served:
        asyncio.run(use(served.url))


def test_readings_belong_to_the_key(tmp_path: Path) -> None:
    keys = ("first-key-0123456789", "second-key-0123456789")

    async def use(url: str) -> None:
        import httpx2

        for key, text in zip(keys, (keeper.text(30), None), strict=True):
            client = httpx2.AsyncClient(headers={"Authorization": f"Bearer {key}"})
            async with (
                client,
                streamable_http_client(f"{url}/mcp", http_client=client) as (receive, send),
                ClientSession(receive, send) as session,
            ):
                if text:
                    await read(session, text=text)
                else:
                    await session.initialize()
                assert len((await call(session, "list_readings"))["readings"]) == bool(text)

    with serving(tmp_path / "service", doors=Doors(Rules(keys=keys))) as served:
        asyncio.run(use(served.url))


@pytest.mark.slow
def test_tools_over_stdio(tmp_path: Path) -> None:
    script = tmp_path / "script.jsonl"
    script.write_text(json.dumps("\n".join(keeper.FACTS)) + "\n")
    command = ["-m", "memagent", "mcp", "--model", f"scripted:{script}", "--window", "20000"]
    server = StdioServerParameters(
        command=sys.executable, args=command, env={**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")}
    )

    async def use() -> None:
        async with (
            stdio_client(server) as (receive, send),
            ClientSession(receive, send) as session,
            stdio_client(server) as (other_receive, other_send),  # a second host starts its own server
            ClientSession(other_receive, other_send) as other,
        ):
            answer = await read(session, text=keeper.text(30))
            assert answer["answer"] == "\n".join(keeper.FACTS)
            await other.initialize()
            assert (await call(other, "list_readings"))["readings"] == []

    asyncio.run(use())
    assert sorted(path.name for path in (tmp_path / "state" / "memagent").iterdir()) == ["mcp-1", "mcp-2"]
