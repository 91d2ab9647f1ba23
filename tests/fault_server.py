"""A misbehaving OpenAI-compatible server on 127.0.0.1. A list says which fault it commits on each request.

    with FaultServer([status(429, headers={"Retry-After": "1"}), ok("Paris")]) as server:
        HttpChat("m", base_url=server.url)

A fault is a function from the body of a request to a Reply. The last fault repeats. `models` answers GET /v1/models,
and `outside` answers requests to other addresses; neither uses up a fault or counts among `requests`.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Literal

Body = dict[str, Any]


@dataclass(frozen=True)
class Reply:
    body: bytes
    status: int = 200
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    framing: Literal["length", "chunked", "close"] = "length"
    cut: int | None = None
    """Number of bytes of the body after which the connection is dropped; None to send all of them."""
    hang: bool = False
    """Whether to send nothing until the server is closed."""


Fault = Callable[[Body], Reply]


@dataclass(frozen=True)
class Seen:
    """A request as it arrived."""

    raw: bytes
    authorization: str | None
    time: float
    query: str = ""
    """Part of the address after the question mark."""

    @property
    def body(self) -> Body:
        body: Body = json.loads(self.raw)
        return body


def ok(
    text: str | None = "Paris",
    *,
    finish: str | None = "stop",
    usage: object = "true",
    message: Mapping[str, object] | None = None,
) -> Fault:
    """Reply with a completion, as a stream if the request asks for one. `message` adds fields to the message."""

    def reply(body: Body) -> Reply:
        counted = {"prompt_tokens": 20, "completion_tokens": 3, "total_tokens": 23} if usage == "true" else usage
        if not body.get("stream"):
            choice = {"index": 0, "message": {"role": "assistant", "content": text, **(message or {})}}
            return json_reply({"object": "chat.completion", "choices": [choice | {"finish_reason": finish}]}, counted)
        deltas: list[dict[str, object]] = [
            {"role": "assistant", "content": None},
            *({k: v} for k, v in (message or {}).items()),
        ]
        deltas += [{"content": text[i : i + 4]} for i in range(0, len(text), 4)] if text is not None else []
        events: list[dict[str, object]] = [
            {"choices": [{"index": 0, "delta": d, "finish_reason": None}]} for d in deltas
        ]
        if finish:
            events.append({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
        if counted is not None and "stream_options" in body:
            events.append({"choices": [], "usage": counted})
        return event_stream(events)

    return reply


def json_reply(value: dict[str, object], usage: object = None, status: int = 200) -> Reply:
    if usage is not None:
        value = value | {"usage": usage}
    return Reply(json.dumps(value).encode(), status)


def event_stream(events: Iterable[object]) -> Reply:
    data = [json.dumps(event) for event in events] + ["[DONE]"]
    body = "".join(f"data: {line}\n\n" for line in data).encode()
    return Reply(body, content_type="text/event-stream", framing="chunked")


def raw(body: str, content_type: str = "application/json") -> Fault:
    return lambda _: Reply(body.encode(), content_type=content_type)


def status(code: int, error: object = "no", *, headers: Mapping[str, str] | None = None) -> Fault:
    """Reply with an error in OpenAI's format; `error` is its message, or the whole body."""
    value = error if isinstance(error, dict) else {"error": {"message": error, "type": "some_error", "code": None}}
    return lambda _: Reply(json.dumps(value).encode(), code, headers=headers or {})


def cut(fault: Fault, part: float = 0.5, *, silent: bool = False) -> Fault:
    """Drop the connection inside the body. If `silent`, no header says how long the body should be."""

    def reply(body: Body) -> Reply:
        whole = fault(body)
        return replace(whole, cut=int(len(whole.body) * part), framing="close" if silent else whole.framing)

    return reply


def hang(_: Body) -> Reply:
    return Reply(b"", hang=True)


PAGE = raw("<!DOCTYPE html><html><body>Welcome to the web interface</body></html>", "text/html; charset=utf-8")


class FaultServer:
    """Serves `faults` in order. `requests` has the requests for completions, `most_at_once` their peak concurrency."""

    def __init__(
        self,
        faults: Sequence[Fault],
        models: Fault | None = None,
        outside: Fault | None = None,
        pause: float = 0.0,
    ) -> None:
        self.requests: list[Seen] = []
        self.listings = 0
        self.most_at_once = 0
        self._at_once = 0
        self._faults = list(faults)
        self._models = models or status(404)
        self.outside = outside or status(404)
        self._pause = pause
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> FaultServer:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()  # waits for the handlers

    @property
    def bodies(self) -> list[Body]:
        return [request.body for request in self.requests]

    def answer(self, seen: Seen) -> Reply:
        with self._lock:
            fault = self._faults[min(len(self.requests), len(self._faults) - 1)]
            self.requests.append(seen)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        reply = fault(seen.body)
        self._closing.wait(60 if reply.hang else self._pause)
        with self._lock:
            self._at_once -= 1
        return reply

    def list_models(self) -> Reply:
        self.listings += 1
        reply = self._models({})
        if reply.hang:
            self._closing.wait(60)
        return reply


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # threads are joined at close, so that no socket outlives a test
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # a client may hang up
            super().handle_error(request, client_address)  # type: ignore[arg-type]


def _handler(server: FaultServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._send(server.list_models() if self.path == "/v1/models" else server.outside({}))

        def do_POST(self) -> None:
            size = int(self.headers["Content-Length"])
            body = self.rfile.read(size)
            if len(body) < size:  # the client was killed
                return
            path, _, query = self.path.partition("?")
            if path == "/v1/chat/completions":
                self._send(server.answer(Seen(body, self.headers["Authorization"], time.monotonic(), query)))
            else:
                self._send(server.outside({}))

        def _send(self, reply: Reply) -> None:
            self.close_connection = True
            if reply.hang:
                return
            self.send_response(reply.status)
            self.send_header("Content-Type", reply.content_type)
            self.send_header("Connection", "close")
            for name, value in reply.headers.items():
                self.send_header(name, value)
            if reply.framing == "length":
                self.send_header("Content-Length", str(len(reply.body)))
            elif reply.framing == "chunked":
                self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            body = reply.body if reply.cut is None else reply.body[: reply.cut]
            if reply.framing != "chunked":
                self.wfile.write(body)
            else:
                for line in body.splitlines(keepends=True):
                    self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
                if reply.cut is None:
                    self.wfile.write(b"0\r\n\r\n")
            self.wfile.flush()

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler
