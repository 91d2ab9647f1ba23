"""Ten million random bytes as journals, documents and server replies: they are read, or refused in one sentence."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path

import make_documents as make
import pytest
from fault_server import FaultServer, Reply

from memagent import MemoryAgent, open_documents, text_document
from memagent.core.records import Message, Request
from memagent.errors import DocumentError, ModelError, RunError
from memagent.models.http import HttpChat
from memagent.models.scripted import ScriptedChat
from memagent.runs.run import FILE, Run

SIZE = 25_000
KINDS = {
    "text": b"", "html": b"<!doctype html><html><body>", "pdf": b"%PDF-1.7\n", "zip": b"PK\x03\x04",
    "gzip": b"\x1f\x8b\x08\0", "xml": b"<?xml version='1.0'?>", "rtf": b"{\\rtf1", "utf-16": b"\xff\xfe",
}  # fmt: skip


def spoilt(content: bytes, draw: random.Random) -> bytes:
    """Return the content with some bytes changed, removed or inserted."""
    found = bytearray(content)
    for _ in range(draw.randrange(1, 12)):
        place = draw.randrange(len(found))
        match draw.randrange(3):
            case 0:
                found[place] = draw.randrange(256)
            case 1:
                del found[place : place + draw.randrange(1, 60)]
            case _:
                found[place:place] = draw.randbytes(draw.randrange(1, 60))
    return bytes(found)


def read(path: Path) -> str:
    """Read a file to its end, as `ask` does. Returns the message of the error, or "" if there is none."""
    try:
        with open_documents([str(path)]) as document:
            assert sum(map(len, document.chunks())) == document.length
    except DocumentError as error:
        return str(error)
    return ""


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_as_documents(tmp_path: Path, kind: str) -> None:
    draw = random.Random(kind)
    for number in range(25):
        path = tmp_path / f"{number}.{draw.choice(['txt', 'html', 'pdf', 'docx', 'epub', 'gz', 'bin'])}"
        path.write_bytes(KINDS[kind] + draw.randbytes(SIZE))
        assert "\n" not in read(path)


@pytest.mark.slow
def test_as_documents_that_were_whole(tmp_path: Path) -> None:
    draw = random.Random(5)
    whole = [
        make.pdf(tmp_path / "a.pdf", ["One page.", "Two pages."]),
        make.docx(tmp_path / "a.docx", ["One.", "Two."]),
        make.epub(tmp_path / "a.epub", ["One.", "Two."]),
    ]
    for file in whole:
        for number in range(60):
            path = tmp_path / f"spoilt-{number}{file.suffix}"
            path.write_bytes(spoilt(file.read_bytes(), draw))
            assert "\n" not in read(path)


@pytest.mark.slow
def test_as_journals(tmp_path: Path) -> None:
    with (
        MemoryAgent(ScriptedChat(lambda request: "a memory")) as agent,
        text_document("Some text. " * 3000) as document,
    ):
        agent.ask("What?", document, run=tmp_path / "run")
    path = tmp_path / "run" / FILE
    whole, draw = path.read_bytes(), random.Random(6)
    said = []
    for number in range(150):
        path.write_bytes(draw.randbytes(SIZE) if number % 3 == 0 else spoilt(whole, draw))
        try:
            run = Run(tmp_path / "run")
            json.dumps([turn.memory for turn in run.trace.turns])
        except RunError as error:
            said.append(str(error))
    assert len(said) > 50
    assert not any("\n" in each for each in said)


@pytest.mark.slow
def test_as_replies() -> None:
    draw = random.Random(7)

    def noise(_: object) -> Reply:
        kind = draw.choice(["application/json", "text/event-stream", "text/html", "application/octet-stream"])
        head = draw.choice([b"", b"{", b'{"choices": [', b"data: {", b"data: [DONE]\n\n", b"\x1f\x8b"])
        return Reply(head + draw.randbytes(SIZE), draw.choice([200, 200, 200, 400, 500]), kind)

    async def ask(url: str) -> list[str]:
        chat = HttpChat("m", base_url=url, api_key="k", retries=0)
        said = []
        for number in range(120):
            shown: list[str] = []
            try:
                await chat.complete(Request((Message("user", "Who?"),), 20), shown.append if number % 2 else None)
            except ModelError as error:
                said.append(str(error))
        await chat.close()
        return said

    with FaultServer([noise]) as server:
        said = asyncio.run(ask(server.url))
    assert len(said) > 100
    assert not any("\n" in each for each in said)
