"""A completion server that takes a given time for each reply, and records how long it waits in between.

    python benchmarks/simulated.py SECONDS JITTER

It prints its port and serves until its standard input is closed. Then it prints a line of JSON: for each question (by
the word "question-N" in its prompts), the seconds from a reply to the next request. The server in `readers.py`
replies to the text of its prompts.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

_STREAM = re.compile(rb'"stream": ?true')
_QUESTION = re.compile(rb"question-\d+")
MEMORY = "The keeper hid the compass. " * 100


class Server:
    """Replies to every request with a memory of about 600 tokens."""

    def __init__(self, seconds: float = 0.0, jitter: float = 0.0) -> None:
        self._seconds, self._jitter = seconds, jitter
        self._random = random.Random(5)
        self._replied: dict[bytes, float] = {}
        self.waits: dict[bytes, list[float]] = defaultdict(list)

    async def reply(self, body: bytes) -> tuple[str, int, int]:
        """Wait as long as a model would, then return a completion and the token counts of prompt and completion."""
        await asyncio.sleep(self._seconds * self._random.uniform(1 - self._jitter, 1 + self._jitter))
        return MEMORY, len(body) // 3, 600

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):  # the client was killed
            await self._serve(reader, writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, asyncio.CancelledError):
                break
            length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
            body = await reader.readexactly(int(length[1]) if length else 0)
            name = found[0] if (found := _QUESTION.search(body)) else b""
            now = time.perf_counter()
            if name in self._replied:
                self.waits[name].append(now - self._replied[name])
            if _STREAM.search(body):
                kind, reply = b"text/event-stream", _stream(*await self.reply(body))
            else:
                said = _listing() if head.startswith(b"GET") else _completion(*await self.reply(body))
                kind, reply = b"application/json", json.dumps(said).encode()
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\ncontent-length: %d\r\n\r\n" % (kind, len(reply)))
            writer.write(reply)
            await writer.drain()
            if name:
                self._replied[name] = time.perf_counter()
        writer.close()


def _listing() -> dict[str, Any]:
    return {"object": "list", "data": [{"id": "m", "object": "model", "max_model_len": 8192}]}


def _stream(text: str, prompt: int, completion: int) -> bytes:
    """Return a stream with one part for each word."""
    parts: list[dict[str, Any]] = [
        {"index": 0, "delta": {"content": word}, "finish_reason": None} for word in re.findall(r"\S+\s*", text)
    ]
    parts.append({"index": 0, "delta": {}, "finish_reason": "stop"})
    head = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    events = [f"data: {json.dumps({**head, 'choices': [part]})}\n\n" for part in parts]
    return "".join([*events, "data: [DONE]\n\n"]).encode()


def _completion(text: str, prompt: int, completion: int) -> dict[str, Any]:
    usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}


async def serve(told: Server) -> None:
    """Print the port, serve until standard input is closed, then print the waits."""
    server = await asyncio.start_server(told.serve, "127.0.0.1", 0, limit=1 << 24)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    print(json.dumps({name.decode(): waits for name, waits in told.waits.items()}), flush=True)
    server.close()


@contextmanager
def serving(script: str, *arguments: str) -> Iterator[tuple[str, dict[str, list[float]]]]:
    """Start a script's server in its own process. Yields its address, and a dict of waits that is filled at the end."""
    seen: dict[str, list[float]] = {}
    command = [sys.executable, script, *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}/v1", seen
        process.stdin.close()
        seen.update(json.loads(process.stdout.readline()))


@contextmanager
def simulated(seconds: float, jitter: float = 0.0) -> Iterator[tuple[str, dict[str, list[float]]]]:
    """Start the server that always sends the same reply."""
    with serving(__file__, str(seconds), str(jitter)) as found:
        yield found


if __name__ == "__main__":
    asyncio.run(serve(Server(float(sys.argv[1]), float(sys.argv[2]))))
