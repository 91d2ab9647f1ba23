"""Requests that the service refuses, sent over real connections."""

from __future__ import annotations

import errno
import io
import os
import socket
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import keeper
import pytest
from served import Served, SlowChat, serving

from memagent.documents import kinds
from memagent.documents.web import fetch
from memagent.errors import DocumentError
from memagent.serve import guard, server
from memagent.serve.guard import Rules
from memagent.serve.intake import open_below
from memagent.serve.server import Doors
from memagent.serve.service_limits import ServiceLimits

KEYS = ("first-key-0123456789", "second-key-0123456789")
ASK = {"question": keeper.QUESTION, "documents": [{"text": keeper.text(20)}]}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("service")) as found:
        yield found


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    rules = Rules(hosts=["reader.example.org"], origins=["https://chat.example.org"], keys=KEYS, body_bytes=1 << 20)
    with serving(tmp_path_factory.mktemp("service"), doors=Doors(rules)) as found:
        yield found


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.mark.parametrize(
    "host", ["evil.example.org", "127.0.0.1.evil.example.org", "localhost.evil.org:80", "", "[::2]"]
)
def test_a_foreign_host_is_refused(served: Served, host: str) -> None:
    found = served.client.get("/v1/models", headers={"Host": host})
    assert found.status_code == 421
    assert "does not accept that host name" in found.json()["error"]["message"]


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9", "127.0.0.1", "[::1]:80"])
def test_names_of_this_machine_are_known(served: Served, host: str) -> None:
    assert served.client.get("/v1/models", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("origin", ["https://evil.example.org", "null", "http://127.0.0.1:1", "file://"])
def test_a_web_page_elsewhere_is_refused(served: Served, origin: str) -> None:
    for method, path in (("POST", "/api/readings"), ("POST", "/v1/chat/completions"), ("GET", "/api/readings")):
        found = served.client.request(method, path, headers={"Origin": origin}, json=ASK)
        assert found.status_code == 403
        assert "access-control-allow-origin" not in found.headers


def test_the_services_own_page_is_not_refused(served: Served) -> None:
    assert served.client.get("/api/readings", headers={"Origin": served.url}).status_code == 200


def test_a_request_without_an_origin_that_a_browser_sends_for_another_page_is_refused(served: Served) -> None:
    asked = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    assert served.client.get("/api/readings", headers=asked).status_code == 403
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert served.client.get("/", headers=link).status_code == 200
    assert served.client.get("/api/readings", headers=link).status_code == 403


def test_an_allowed_origin_may_ask(guarded: Served) -> None:
    asked = {"Origin": "https://chat.example.org", "Host": "reader.example.org"}
    preflight = guarded.client.options("/api/readings", headers=asked)
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == "https://chat.example.org"
    found = guarded.client.get("/api/readings", headers=asked | bearer(KEYS[0]))
    assert (found.status_code, found.headers["access-control-allow-origin"]) == (200, "https://chat.example.org")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        bearer("wrong-key-0123456789"),
        bearer(KEYS[0][:-1]),
        bearer(KEYS[0] + "x"),
        {"Authorization": KEYS[0]},
        {"Authorization": f"Basic {KEYS[0]}"},
        {"Authorization": "Bearer"},
    ],
)
def test_a_wrong_key_is_refused(guarded: Served, headers: dict[str, str]) -> None:
    for path in ("/v1/models", "/api/readings", "/v1/files", "/metrics", "/mcp", "/openapi.json"):
        found = guarded.client.get(path, headers=headers)
        assert (found.status_code, found.headers["www-authenticate"]) == (401, "Bearer")
        assert KEYS[0] not in found.text


def test_what_needs_no_key(guarded: Served) -> None:
    assert guarded.client.get("/health").json() == {"status": "ok"}
    assert guarded.client.get("/api/about").json()["needs_key"] is True


def test_keys_do_not_see_each_others_readings(guarded: Served) -> None:
    first, second = bearer(KEYS[0]), bearer(KEYS[1])
    reading = guarded.client.post("/api/readings", json=ASK, headers=first).json()
    assert guarded.client.get(f"/api/readings/{reading['id']}", headers=first).status_code == 200
    for method, path in (
        ("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("POST", "/resume"), ("GET", "/events"),
        ("GET", "/passages/0"), ("GET", "/page.html"),
    ):  # fmt: skip
        found = guarded.client.request(method, f"/api/readings/{reading['id']}{path}", headers=second)
        assert found.status_code == 404
    assert guarded.client.get("/api/readings", headers=second).json() == {"readings": []}
    document = {"question": "Who?", "documents": [{"id": reading["documents"][0]["id"]}]}
    assert guarded.client.post("/api/readings", json=document, headers=second).status_code == 404


def test_keys_are_not_in_the_rules_text() -> None:
    assert KEYS[0] not in repr(Rules(keys=KEYS))


def test_a_body_is_counted_while_it_comes(guarded: Served) -> None:
    found = guarded.client.post("/api/readings", content=b"x" * (2 << 20), headers=bearer(KEYS[0]))
    assert (found.status_code, found.json()["error"]["code"]) == (413, "body")

    def endless() -> Iterator[bytes]:
        for _ in range(64):
            yield b"x" * (1 << 16)

    found = guarded.client.post("/api/readings", content=endless(), headers=bearer(KEYS[0]))
    assert found.status_code == 413


def test_all_bodies_together_are_bounded(tmp_path: Path) -> None:
    with serving(tmp_path, SlowChat(), doors=Doors(Rules(all_bytes=1 << 20))) as served:
        text = keeper.text(20) + "The sea was grey.\n" * 40_000
        first, second = (
            {"model": "memagent", "messages": [{"role": "user", "content": f"{text}{name}"}], "stream": True}
            for name in ("Who?", "Where?")
        )

        def status(form: dict[str, Any]) -> int:
            with served.client.stream("POST", "/v1/chat/completions", json=form) as reply:
                return reply.status_code

        with served.client.stream("POST", "/v1/chat/completions", json=first) as reading:
            assert reading.status_code == 200
            assert [status(second), status(second)] == [503, 503]
            assert served.client.post("/v1/chat/completions", json=second).headers["retry-after"] == "10"
        until(lambda: status(second) == 200)


def test_a_client_that_does_not_read_its_reply_is_disconnected(served: Served) -> None:
    content = keeper.text().encode() * 1000
    kept = served.client.post("/v1/files", files={"file": ("a.txt", content)}).json()
    with patch.object(server, "_UNREAD_SECONDS", 0.2), socket.create_connection(_address(served)) as connection:
        connection.sendall(f"GET /v1/files/{kept['id']}/content HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        time.sleep(1)
        connection.settimeout(10)
        assert sum(map(len, iter(lambda: connection.recv(1 << 20), b""))) < len(content)
    assert served.client.delete(f"/v1/files/{kept['id']}").status_code == 200


def test_a_full_disk_is_not_the_clients_fault(served: Served) -> None:
    """Starlette keeps an upload of more than 1 MiB in a temporary file."""
    with patch("tempfile.SpooledTemporaryFile.rollover", side_effect=OSError(errno.ENOSPC, "No space left on device")):
        found = served.client.post("/v1/files", files={"file": ("a.txt", b"Something. " * 200_000)})
    assert (found.status_code, found.json()["error"]["code"]) == (507, "storage")


def test_a_body_that_does_not_come_is_not_waited_for(served: Served) -> None:
    with patch.object(guard, "_CHUNK_SECONDS", 0.2):
        reply = _send(served, b"POST /api/readings HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
    assert reply.startswith(b"HTTP/1.1 408")


def test_headers_that_do_not_come_are_not_waited_for(served: Served) -> None:
    with patch.object(server, "_HEADER_SECONDS", 0.2):
        began = time.monotonic()
        assert _send(served, b"GET /health HTTP/1.1\r\nHost: local") == b""
        assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "request_", [b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * (1 << 20) + b"\r\n\r\n", b"\0\1\2\r\n\r\n",
                 b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n"],
)  # fmt: skip
def test_malformed_requests_are_refused(served: Served, request_: bytes) -> None:
    assert _send(served, request_)[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 421", b"")
    assert served.service.states == []
    assert served.client.get("/health").status_code == 200


def test_clients_that_are_too_fast_wait(tmp_path: Path) -> None:
    with serving(tmp_path, doors=Doors(Rules(requests_per_minute=5))) as served:
        found = [served.client.get("/v1/models") for _ in range(7)]
    assert [each.status_code for each in found] == [200] * 5 + [429] * 2
    assert 1 <= int(found[-1].headers["retry-after"]) <= 13


def test_the_queue_says_when_to_come_back(tmp_path: Path) -> None:
    with serving(tmp_path, SlowChat(), limits=ServiceLimits(readings=1, waiting=0)) as served:
        assert served.client.post("/api/readings", json=ASK).status_code == 202
        found = served.client.post("/api/readings", json=ASK | {"question": "Who else?"})
    assert (found.status_code, found.headers["retry-after"]) == (429, "10")


def test_every_reply_has_the_headers_that_bind_a_browser(served: Served) -> None:
    for path in ("/health", "/api/readings", "/nothing", "/v1/files/none"):
        headers = served.client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "server" not in headers


def test_an_upload_never_leaves_as_a_page(served: Served) -> None:
    html = b"<html><body><script>alert(1)</script><p>Something to read.</p></body></html>"
    kept = served.client.post("/v1/files", files={"file": ("x.html", html)}).json()
    found = served.client.get(f"/v1/files/{kept['id']}/content")
    assert found.content == html
    assert found.headers["content-type"] == "application/octet-stream"
    assert found.headers["content-disposition"].startswith("attachment")


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("/", "document"),
        ("\x1b]0;owned\x07.txt", "\x1b]0;owned\x07.txt"),
        ("a" * 5000 + ".txt", ("a" * 5000 + ".txt")[-255:]),
    ],
)
def test_a_file_name_is_only_a_label(served: Served, name: str, kept: str) -> None:
    form = {"question": "Who?", "documents": [{"text": "Something to read.", "name": name}]}
    found = served.client.post("/api/readings", json=form)
    if len(name) > 255:
        assert found.status_code == 400
    else:
        assert found.json()["documents"][0]["name"] == kept


def test_a_zip_bomb_is_refused(served: Served) -> None:
    """The bomb and the limit are smaller than the real limit of 2 GiB."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "wordprocessingml.document.main+xml")
        with archive.open("word/document.xml", "w", force_zip64=True) as member:
            for _ in range(20):
                member.write(bytes(1 << 20))
    assert len(packed.getvalue()) < 1 << 16
    with patch.object(kinds, "LARGEST", 10 << 20):
        found = served.client.post("/v1/files", files={"file": ("bomb.docx", packed.getvalue())})
    assert (found.status_code, found.json()["error"]["code"]) == (400, "document")
    assert "when unpacked: split it into parts" in found.json()["error"]["message"]


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n", b"\0\1\2\3" * 100, b"%PDF-1.7 broken", b"\xff\xfe\xff"])
def test_what_is_no_document_is_refused(served: Served, content: bytes) -> None:
    found = served.client.post("/v1/files", files={"file": ("name", content)})
    assert (found.status_code, found.json()["error"]["code"]) == (400, "document")


def test_files_outside_the_roots_are_refused(tmp_path: Path) -> None:
    root, secret = tmp_path / "root", tmp_path / "secret.txt"
    (root / "deep").mkdir(parents=True)
    secret.write_text("secret")
    inside = root / "deep" / "a.txt"
    inside.write_text("open")
    (root / "link.txt").symlink_to(secret)
    (root / "folder").symlink_to(tmp_path)
    (root / "good.txt").symlink_to(inside)
    os.mkfifo(root / "pipe")
    for path in (inside, root / "good.txt", root / "deep" / ".." / "deep" / "a.txt"):
        with open_below(str(path), [root]) as file:
            assert file.read() == b"open"
    bad = [secret, root / ".." / "secret.txt", root / "link.txt", root / "folder" / "secret.txt", root / "pipe", root,
           root / "none.txt", "/etc/passwd", "/dev/zero", "/proc/self/environ", "", "\0", "a" * 5000,
           f"{root}-other/a.txt", f"{root}/deep/%2e%2e/%2e%2e/secret.txt", f"file://{inside}"]  # fmt: skip
    for each in bad:
        with pytest.raises(DocumentError, match="is not a file in a folder that this service may read"):
            open_below(str(each), [root])
    with pytest.raises(DocumentError):
        open_below(str(inside), [])


def test_a_link_that_is_exchanged_after_the_check_is_not_followed(tmp_path: Path) -> None:
    root, other = tmp_path / "root", tmp_path / "other"
    for folder, text in ((root / "a", "open"), (other, "secret")):
        folder.mkdir(parents=True)
        (folder / "x.txt").write_text(text)
    resolve = Path.resolve

    def resolved(path: Path, strict: bool = False) -> Path:
        found = resolve(path, strict=strict)
        if path.name == "x.txt" and (root / "a").is_dir() and not (root / "a").is_symlink():
            (root / "a").rename(root / "b")
            (root / "a").symlink_to(other)
        return found

    with patch.object(Path, "resolve", resolved), pytest.raises(DocumentError):
        open_below(str(root / "a" / "x.txt"), [root])


def test_urls_are_not_fetched_unless_allowed(served: Served) -> None:
    form = {"question": "Who?", "documents": [{"url": "https://example.org/"}]}
    found = served.client.post("/api/readings", json=form)
    assert (found.status_code, "does not fetch URLs" in found.text) == (400, True)


PRIVATE = """
127.0.0.1
localhost
0.0.0.0
10.0.0.1
192.168.1.1
169.254.169.254
[::1]
[::]
[::ffff:127.0.0.1]
[fd00::1]
[fe80::1]
2130706433
0x7f.1
017700000001
100.64.0.1
224.0.0.1
[2002:7f00:1::]
[64:ff9b::a9fe:a9fe]
[64:ff9b:1::a00:1]
[::7f00:1]
[fec0::1]
""".split()


def test_private_addresses_are_never_fetched(tmp_path: Path) -> None:
    with serving(tmp_path, limits=ServiceLimits(urls=True)) as served:
        own = f":{served.url.rpartition(':')[2]}"
        for url in [f"http://{host}{port}/health" for host in PRIVATE for port in ("", ":80", own)]:
            form = {"question": "Who?", "documents": [{"url": url}]}
            found = served.client.post("/api/readings", json=form)
            assert (found.status_code, found.json()["error"]["code"]) == (400, "document"), found.text
        assert served.client.get("/api/readings").json() == {"readings": []}


def test_a_redirect_to_a_private_address_is_not_followed(tmp_path: Path) -> None:
    """The first server is public and the second private, as when a public page redirects to an internal one."""
    redirected: list[str] = []

    def resolve(host: str, *_: Any, **__: Any) -> list[Any]:
        redirected.append(host)
        address = "93.184.216.34" if host == "public.example.org" else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0))]

    import httpx2

    def reply(_: Any, request: httpx2.Request) -> httpx2.Response:
        assert request.url.host == "93.184.216.34"
        assert request.headers["host"] == "public.example.org"
        return httpx2.Response(302, headers={"Location": "http://inside.example.org/"}, request=request)

    with (
        patch.object(socket, "getaddrinfo", resolve),
        patch.object(httpx2.HTTPTransport, "handle_request", reply),
        pytest.raises(DocumentError, match=r"inside\.example\.org is not a public address"),
    ):
        fetch("http://public.example.org/", tmp_path / "page", public=True)
    assert redirected == ["public.example.org", "inside.example.org"]


@pytest.mark.parametrize("part", ["headers", "body"])
def test_a_server_that_sends_a_byte_now_and_then_is_not_waited_for(tmp_path: Path, part: str) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
    begin = head if part == "headers" else head + b"\r\n"
    with dripping(begin) as port:
        began = time.monotonic()
        with pytest.raises(DocumentError, match=r"took longer than 0\.5 s to download: download it by other means"):
            fetch(f"http://127.0.0.1:{port}/", tmp_path / "page", seconds=0.5)
        assert time.monotonic() - began < 5


@contextmanager
def dripping(begin: bytes) -> Iterator[int]:
    """Run a server that sends a first part, and then a byte at a time for 30 seconds. Yields its port."""

    def drip(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            connection.sendall(begin)
            for _ in range(300):
                connection.sendall(b"X")
                time.sleep(0.1)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=[listener])
        thread.start()
        yield listener.getsockname()[1]
        thread.join(40)


def until(holds: Callable[[], bool]) -> None:
    limit = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < limit
        time.sleep(0.05)


def _address(served: Served) -> tuple[str, int]:
    host, port = served.url.removeprefix("http://").split(":")
    return host, int(port)


def _send(served: Served, data: bytes) -> bytes:
    """Send bytes over a new connection, and return the reply; empty if there was none."""
    with socket.create_connection(_address(served), timeout=10) as connection:
        try:
            connection.sendall(data)
            return connection.recv(1 << 16)
        except ConnectionError:  # the service refused the request before all of it was sent
            return b""
