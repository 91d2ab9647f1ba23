"""Attacks on the service, and the reply that each must get. `python tests/serve/attacks.py` prints a table."""

from __future__ import annotations

import json
import socket
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

KEY = "a-right-key-0123456789"
_HOST = "Host: localhost"
_KEY = f"Authorization: Bearer {KEY}"


@dataclass(frozen=True)
class Attack:
    """Bytes to send, and the statuses that are acceptable. 0 means that the connection is closed without a reply."""

    name: str
    data: bytes
    right: tuple[int, ...]
    never: bytes = b"root:"
    """Bytes that the reply must not contain."""


def _get(path: str, *headers: str, host: str = _HOST) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", host, "Connection: close", *headers, "", ""]).encode("utf-8", "replace")


def _post(path: str, content: bytes, *headers: str, kind: str = "application/json") -> bytes:
    head = [f"POST {path} HTTP/1.1", _HOST, "Connection: close", f"Content-Type: {kind}", _KEY, *headers]
    return "\r\n".join([*head, f"Content-Length: {len(content)}", "", ""]).encode() + content


def _ask(**form: object) -> bytes:
    return _post("/api/readings", json.dumps({"question": "Who?", "documents": [{"text": "a"}]} | form).encode())


def _upload(name: bytes, content: bytes) -> bytes:
    body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="' + name + b'"\r\n\r\n' + content
    return _post("/v1/files", body + b"\r\n--x--\r\n", kind="multipart/form-data; boundary=x")


def _chat(content: object, **more: object) -> bytes:
    form = {"model": "memagent", "messages": [{"role": "user", "content": content}]} | more
    return _post("/v1/chat/completions", json.dumps(form).encode())


ATTACKS = [
    Attack("no key", _get("/v1/models"), (401,)),
    Attack("a wrong key of the right length", _get("/v1/models", f"Authorization: Bearer {KEY[:-1]}x"), (401,)),
    Attack("two keys", _get("/v1/models", "Authorization: Bearer x", _KEY), (401,)),
    Attack("a key in the address", _get(f"/v1/models?api_key={KEY}"), (401,)),
    Attack("a foreign host (DNS rebinding)", _get("/v1/models", _KEY, host="Host: evil.example.org"), (421,)),
    Attack("no host", _get("/v1/models", _KEY, host="X: y"), (400,)),
    Attack("two hosts", _get("/v1/models", _KEY, "Host: evil.example.org"), (400,)),
    Attack("an absolute address", _get("http://evil.example.org/v1/models", _KEY), (200, 400, 404)),
    Attack("a page from another origin", _get("/v1/models", _KEY, "Origin: https://evil.example.org"), (403,)),
    Attack("a sandboxed page", _get("/v1/models", _KEY, "Origin: null"), (403,)),
    Attack("an image tag on another site", _get("/v1/models", _KEY, "Sec-Fetch-Site: cross-site"), (403,)),
    Attack("a form on another site", _post("/api/readings", b"a=b", "Origin: http://evil", kind="text/plain"), (403,)),
    Attack("traversal in the page's files", _get("/static/../../../../../../etc/passwd"), (404,)),
    Attack("the same, encoded", _get("/static/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd"), (404,)),
    Attack("the same, encoded twice", _get("/static/%252e%252e/%252e%252e/etc/passwd"), (404,)),
    Attack("the same, with backslashes", _get("/static/..%5c..%5c..%5cetc%5cpasswd"), (404,)),
    Attack("an absolute path in the page's files", _get("/static//etc/passwd"), (404,)),
    Attack("a NUL in a path", _get("/static/index.html%00.png"), (404,)),
    Attack("traversal in a file's id", _get("/v1/files/..%2f..%2fstate.sqlite/content", _KEY), (404,)),
    Attack("SQL in a file's id", _get("/v1/files/'%20OR%20'1'='1/content", _KEY), (404,)),
    Attack("SQL in a reading's id", _get("/api/readings/x'%3B%20DROP%20TABLE%20readings%3B--", _KEY), (404,)),
    Attack("traversal in a reading's id", _get("/api/readings/..%2f..%2f..%2fetc/page.html", _KEY), (404,)),
    Attack("a negative limit", _get("/api/readings?limit=-1", _KEY), (400,)),
    Attack("a giant header", _get("/health", "X: " + "x" * (1 << 20)), (400, 0)),
    Attack("10,000 headers", _get("/health", *[f"X-{n}: x" for n in range(10_000)]), (431, 400, 0)),
    Attack("length and chunks (smuggling)",
           _post("/api/readings", b"0\r\n\r\nGET /", "Transfer-Encoding: chunked"), (400,)),
    Attack("a negative length",
           b"POST /api/readings HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", (400,)),
    Attack("a length of 1 TB", _get("/api/readings", _KEY, f"Content-Length: {1 << 40}"), (413,)),
    Attack("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(50) + b"\r\n\r\n", (400, 0)),
    Attack("a line break in a header", b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: a\rb\r\n\r\n", (400,)),
    Attack("TRACE", b"TRACE / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", (401, 405)),
    Attack("a WebSocket", _get("/", "Upgrade: websocket", "Connection: Upgrade"), (200, 400, 403)),
    Attack("100,000 brackets", _post("/api/readings", b"[" * 100_000), (400,)),
    Attack("a number of 100,000 digits", _post("/api/readings", b'{"question": ' + b"9" * 100_000 + b"}"), (400,)),
    Attack("NaN", _post("/v1/chat/completions", b'{"model": "memagent", "messages": [], "top_p": NaN}'), (400,)),
    Attack("a lone surrogate", _ask(question="\ud800"), (400,)),
    Attack("max_tokens of 10^30", _chat("a", max_tokens=10**30), (400,)),
    Attack("bytes that are not UTF-8", _post("/api/readings", b'{"question": "\xff"}'), (400,)),
    Attack("another content type", _post("/api/readings", b"<x/>", kind="application/xml"), (400,)),
    Attack("a multipart body without its boundary", _post("/v1/files", b"x", kind="multipart/form-data"), (400,)),
    Attack("2,000 parts",
           _post("/v1/files", b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n" * 2000 + b"--x--",
            kind="multipart/form-data; boundary=x"), (400,)),
    Attack("a path as a file's name", _upload(b"../../../../etc/passwd", b"Something to read."), (200,)),
    Attack("a line break in a file's name",
           _upload(b"a%0d%0aSet-Cookie: x=y", b"Something to read."), (200,), b"\r\nSet-Cookie"),
    Attack("escape sequences in a file's name",
           _upload(b"\x1b]0;owned\x07.txt", b"Something to read."), (200,), b"\x1b"),
    Attack("a program as a document", _upload(b"a.txt", b"\x7fELF" + bytes(100)), (400,)),
    Attack("XML entities in a document",
           _upload(b"a.html",
            b'<!DOCTYPE html [<!ENTITY x SYSTEM "file:///etc/passwd">]><html><p>&x; text</p></html>'), (200,)),
    Attack("a path as a document", _ask(documents=[{"path": "/etc/passwd"}]), (400,)),
    Attack("a file: URL as a document", _ask(documents=[{"url": "file:///etc/passwd"}]), (400,)),
    Attack("the cloud metadata address as a document", _ask(documents=[{"url": "http://169.254.169.254/"}]), (400,)),
    Attack("a data URL that is not base64",
           _chat([{"type": "file", "file": {"file_data": "data:,%%%"}}, {"type": "text", "text": "Who?"}]), (400,)),
    Attack("another owner's document", _ask(documents=[{"id": "file-000000000000000000000000"}]), (404,)),
    Attack("an image as a prompt", _chat([{"type": "image_url", "image_url": {"url": "http://127.0.0.1/"}}]), (400,)),
    Attack("a reader with a path", _ask(reader="../../x"), (400,)),
]  # fmt: skip


def send(url: str, data: bytes) -> tuple[int, bytes]:
    """Send bytes over a new connection. Returns the status of the reply, or 0 for no reply, and the whole reply."""
    parts = urlsplit(url)
    found = b""
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=20) as connection:
        try:
            connection.sendall(data)
            while block := connection.recv(1 << 16):
                found += block
        except ConnectionError:  # the service refused the request before all of it was sent
            pass
    words = found.split(b" ", 2)
    return (int(words[1]) if len(words) > 1 and words[1].isdigit() else 0), found


def main() -> None:
    from served import serving

    from memagent.serve.guard import Rules
    from memagent.serve.server import Doors

    with tempfile.TemporaryDirectory() as folder, serving(Path(folder), doors=Doors(Rules(keys=[KEY]))) as served:
        print("| attack | reply |\n|---|---|")
        for attack in ATTACKS:
            status, reply = send(served.url, attack.data)
            said = ""
            start = reply.find(b'{"error"')
            if start >= 0:
                said = json.loads(reply[start:])["error"]["message"]
            print(f"| {attack.name} | {status or 'closed'} {said} |")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    main()
