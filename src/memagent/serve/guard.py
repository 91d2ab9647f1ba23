"""Check the host, origin, key, size and rate of every request before it reaches a door.

A web page that the user visits can send requests to a server on the user's own machine. Such a request has the page's
`Origin`. If the page's host name was made to point to this machine (DNS rebinding), the request has a foreign `Host`.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from memagent.serve.faults import body

LOCAL = "local"
"""Owner of everything on a service without keys."""

HEADER_BYTES = 32 << 10
"""Maximum size of a request's headers."""

_LOOPBACK = {"localhost", "127.0.0.1", "[::1]"}
_OPEN = {"/", "/health", "/api/about"}
"""Paths that need no key, besides the page's own files."""
_OPEN_BELOW = "/static/"
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_CHUNK_SECONDS = 30.0  # for which a client may pause while it sends a body


@dataclass(frozen=True, slots=True)
class Rules:
    """Conditions that a request must meet.

    Args:
        hosts: host names that clients may use, besides those of this machine.
        origins: origins of other web pages that may use the service, such as https://chat.example.org.
        keys: keys of the clients; if there are none, no client needs a key.
        body_bytes: maximum size of a request's body.
        all_bytes: maximum size of the bodies of all requests in progress, which are held in memory.
        requests_per_minute: limit for each key, or for each address if there are no keys; None for no limit.
    """

    hosts: Sequence[str] = ()
    origins: Sequence[str] = ()
    keys: Sequence[str] = field(default=(), repr=False)
    body_bytes: int = 256 << 20
    all_bytes: int = 1 << 30
    requests_per_minute: int | None = None


class Guard:
    """ASGI middleware that sets the owner of each request and refuses requests that break the rules."""

    def __init__(self, app: ASGIApp, rules: Rules) -> None:
        self._app, self._rules = app, rules
        self._hosts = _LOOPBACK | {f"[{host}]" if ":" in host else host.lower() for host in rules.hosts}
        self._keys = [hashlib.sha256(key.encode()).digest() for key in rules.keys]
        self._rates: dict[str, _Rate] = {}
        self._bytes = 0  # of all bodies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        sending = _Sending(send, headers.get("origin") if headers.get("origin") in self._rules.origins else None)
        refused = self._refused(scope, headers)
        if refused is None:
            receiving = sending.receiving = _Receiving(receive, self._count)
            try:
                await self._app(scope, receiving, sending)
            except _BadBody:
                if sending.started:
                    raise
            finally:
                self._bytes -= receiving.bytes
            if (error := receiving.error) and not sending.started:
                refused = _refusal(error.status, str(error), "body", {"Retry-After": "10"} if error.later else None)
        if refused:
            sending.receiving = None
            await refused(scope, receive, sending)

    def _count(self, new: int, total: int) -> None:
        """Count the new bytes of a body, which then has `total`. Raises _BadBody if there are too many."""
        self._bytes += new
        if total > self._rules.body_bytes:
            raise _BadBody(413, _too_large(self._rules.body_bytes))
        if self._bytes > self._rules.all_bytes:
            raise _BadBody(503, "The service is receiving too many large requests: try again later.", later=True)

    def _refused(self, scope: Scope, headers: Headers) -> Response | None:
        if sum(len(name) + len(value) for name, value in headers.raw) > HEADER_BYTES:
            return _refusal(431, "The request's headers are too large.", "headers")
        if "transfer-encoding" in headers and "content-length" in headers:  # a proxy might use the other one
            return _refusal(400, "Send either Content-Length or Transfer-Encoding.", "headers", {"Connection": "close"})
        host = headers.get("host", "")
        if _name(host) not in self._hosts:
            return _refusal(421, "This service does not accept that host name: allow it with --allow-host.", "host")
        origin = headers.get("origin")
        allowed = origin in self._rules.origins
        if origin is not None and not allowed and origin.partition("://")[2].lower() != host.lower():
            return _refusal(403, "Web pages from other origins need --allow-origin to use this service.", "origin")
        if (
            origin is None
            and headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
            and not _visits(scope, headers)
        ):
            return _refusal(403, "Web pages from other origins need --allow-origin to use this service.", "origin")
        if allowed and scope["method"] == "OPTIONS":
            asked = headers.get("access-control-request-headers", "Authorization, Content-Type")
            return Response(status_code=204, headers={"Access-Control-Allow-Headers": asked})
        length = headers.get("content-length", "0")
        if length.isdigit() and int(length) > self._rules.body_bytes:
            return _refusal(413, _too_large(self._rules.body_bytes), "body")
        owner = self._owner(headers)
        client = scope["client"][0] if scope.get("client") else ""
        if slow := self._too_fast(owner if self._keys and owner else client):  # a wrong key counts for its address
            return slow
        if owner is None and not (scope["path"] in _OPEN or scope["path"].startswith(_OPEN_BELOW)):
            said = "This service needs a key: send it as Authorization: Bearer KEY."
            return _refusal(401, said, "invalid_api_key", {"WWW-Authenticate": "Bearer"})
        scope["memagent.owner"] = owner or LOCAL
        return None

    def _owner(self, headers: Headers) -> str | None:
        """Return the owner that belongs to the request's key; None if the key is wrong."""
        if not self._keys:
            return LOCAL
        scheme, _, key = headers.get("authorization", "").partition(" ")
        digest = hashlib.sha256(key.strip().encode()).digest()
        # Every key is compared, in constant time, so that the time reveals nothing about the keys.
        found = [hmac.compare_digest(digest, each) for each in self._keys]
        return f"key-{digest.hex()[:16]}" if any(found) and scheme.lower() == "bearer" else None

    def _too_fast(self, client: str) -> JSONResponse | None:
        most = self._rules.requests_per_minute
        if most is None:
            return None
        if len(self._rates) > 10_000:  # after a quiet minute, a client's bucket is full again
            self._rates = {name: rate for name, rate in self._rates.items() if rate.quiet < 60}
        wait = self._rates.setdefault(client, _Rate(most)).wait(most)
        if not wait:
            return None
        after = {"Retry-After": str(int(wait) + 1)}
        return _refusal(429, f"More than {most} requests in a minute: slow down.", "rate_limit_exceeded", after)


class _Rate:
    """Token bucket that refills within a minute."""

    def __init__(self, most: int) -> None:
        self._left, self._last = float(most), time.monotonic()

    @property
    def quiet(self) -> float:
        return time.monotonic() - self._last

    def wait(self, most: int) -> float:
        """Take a request out of the bucket and return 0. If the bucket is empty, return the seconds to wait."""
        self._left = min(most, self._left + self.quiet * most / 60)
        self._last = time.monotonic()
        if self._left < 1:
            return (1 - self._left) * 60 / most
        self._left -= 1
        return 0.0


class _BadBody(Exception):
    def __init__(self, status: int, message: str, later: bool = False) -> None:
        super().__init__(message)
        self.status, self.later = status, later


class _Receiving:
    """Counts the bytes of a body as they arrive, and limits the wait for the next ones."""

    def __init__(self, receive: Receive, count: Callable[[int, int], None]) -> None:
        self._receive, self._count, self._whole = receive, count, False
        self.bytes = 0
        self.error: _BadBody | None = None

    async def __call__(self) -> Message:
        if self._whole:
            return await self._receive()  # waits for the client to disconnect
        try:
            async with asyncio.timeout(_CHUNK_SECONDS):
                message = await self._receive()
        except TimeoutError as error:
            self.error = _BadBody(408, "The body of the request did not arrive in time.")
            raise self.error from error
        new = len(message.get("body", b""))
        self.bytes += new
        self._whole = not message.get("more_body", False)
        try:
            self._count(new, self.bytes)
        except _BadBody as error:
            self.error = error
            raise
        return message


class _Sending:
    """Adds security headers to a reply.

    If the guard has refused the body, this drops the app's reply, because the guard then sends its own.
    """

    def __init__(self, send: Send, origin: str | None) -> None:
        self._send, self._origin, self.started = send, origin, False
        self.receiving: _Receiving | None = None

    async def __call__(self, message: Message) -> None:
        if self.receiving and self.receiving.error and not self.started:
            return
        if message["type"] == "http.response.start":
            self.started = True
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            if self._origin:
                headers["Access-Control-Allow-Origin"] = self._origin
                headers["Access-Control-Allow-Methods"] = "GET, POST, DELETE"
                headers["Access-Control-Expose-Headers"] = "Mcp-Session-Id, Retry-After"
                headers["Cross-Origin-Resource-Policy"] = "cross-origin"
                headers.add_vary_header("Origin")
        await self._send(message)


def _visits(scope: Scope, headers: Headers) -> bool:
    """Return whether a browser is opening the page, for example from a link on another site."""
    return scope["method"] == "GET" and scope["path"] == "/" and headers.get("sec-fetch-mode") == "navigate"


def _name(host: str) -> str:
    """Return the name in a Host header, without the port."""
    if host.startswith("["):
        return host.partition("]")[0].lower() + "]"
    return host.partition(":")[0].lower()


def _too_large(most: int) -> str:
    return f"The request is larger than {most >> 20} MiB."


def _refusal(status: int, message: str, code: str, headers: dict[str, str] | None = None) -> JSONResponse:
    kind = {429: "rate_limit_error", 503: "server_error"}.get(status, "invalid_request_error")
    return JSONResponse(body(message, kind, code), status, headers)
