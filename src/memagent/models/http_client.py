"""Make the `openai` client for a server, one for each event loop that uses the chat."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit, urlunsplit
from weakref import WeakKeyDictionary

import httpx2
import openai
from pydantic import HttpUrl

from memagent.errors import UsageError

CONNECT_SECONDS = 5.0
_TAIL = 256  # bytes


class Tail(httpx2.AsyncByteStream):
    """Passes on the bytes of a response and keeps the last ones, because the client does not say if [DONE] came."""

    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream
        self._last = b""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for data in self._stream:
            self._last = (self._last + data)[-_TAIL:]
            yield data

    async def aclose(self) -> None:
        await self._stream.aclose()

    @property
    def done(self) -> bool:
        """Whether the event stream ended with [DONE], as OpenAI's do."""
        return b"[DONE]" in self._last


async def _keep_tail(response: httpx2.Response) -> None:
    assert isinstance(response.stream, httpx2.AsyncByteStream)
    response.stream = Tail(response.stream)


@dataclass(frozen=True, slots=True)
class Connection:
    """The client and the locks of one event loop."""

    client: openai.AsyncOpenAI
    slots: asyncio.Semaphore
    plain: httpx2.AsyncClient
    """Sends requests that another program has made."""
    probing: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def close(self) -> None:
        await self.client.close()
        await self.plain.aclose()


class Connections:
    """Holds one Connection for each event loop. It is made on first use, and made again after it has been closed.

    Args:
        base_url: the address of the server's API; OpenAI's own when None. A query such as ?api-version=1 is sent with
            every request.
        retries: tries after the first, on lost connections, timeouts, 429 and 5xx.
        concurrency: number of calls in flight at once.

    Raises:
        UsageError: the address, the key or a proxy in the environment cannot be used.
    """

    def __init__(self, base_url: str | None, api_key: str, timeout: float, retries: int, concurrency: int) -> None:
        self._base_url, self._query = _split(base_url)
        self._key = _checked(api_key)
        self._timeout = openai.Timeout(timeout, connect=min(timeout, CONNECT_SECONDS))
        self._retries, self._concurrency = retries, concurrency
        self._made: WeakKeyDictionary[asyncio.AbstractEventLoop, Connection] = WeakKeyDictionary()
        self._spare: openai.AsyncOpenAI | None = self._client()  # made now, so that bad settings fail at once
        self.url = str(self._spare.base_url.copy_with(userinfo=b"", query=None)).rstrip("/")
        """Address of the server for messages, without a password."""

    @property
    def here(self) -> Connection:
        """The Connection of the running event loop."""
        loop = asyncio.get_running_loop()
        if loop not in self._made:
            client, self._spare = self._spare or self._client(), None
            plain = httpx2.AsyncClient(timeout=self._timeout, limits=httpx2.Limits(max_keepalive_connections=100))
            self._made[loop] = Connection(client, asyncio.Semaphore(self._concurrency), plain)
        return self._made[loop]

    async def post(self, path: str, content: bytes) -> httpx2.Response:
        """Post a JSON request as it is, with the server's key. The body of the response has not been read yet."""
        here = self.here
        request = here.plain.build_request(
            "POST",
            str(here.client.base_url).rstrip("/") + path,
            content=content,
            headers={
                "Content-Type": "application/json",
                "Accept-Encoding": "identity",
                "Authorization": f"Bearer {self._key}",
            },
            params=self._query,
        )
        try:
            return await here.plain.send(request, stream=True)
        except httpx2.TimeoutException as error:
            raise openai.APITimeoutError(request) from error
        except httpx2.HTTPError as error:
            raise openai.APIConnectionError(request=request) from error

    async def close(self) -> None:
        """Close the Connection of the running event loop. The next call opens another."""
        if made := self._made.pop(asyncio.get_running_loop(), None):
            await made.close()

    def _client(self) -> openai.AsyncOpenAI:
        try:
            return openai.AsyncOpenAI(
                api_key=self._key,
                base_url=self._base_url,
                default_query=self._query,
                max_retries=self._retries,
                timeout=self._timeout,
                http_client=openai.DefaultAsyncHttpxClient(event_hooks={"response": [_keep_tail]}),
            )
        except (ImportError, ValueError) as error:  # from a proxy that the environment names
            names = [name for name in ("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY") if _environment(name)]
            raise UsageError(
                f"The proxy in {' or '.join(names) or 'the environment'} cannot be used ({_first_line(error)}): "
                "give an http:// proxy, or add the server to NO_PROXY."
            ) from error
        except OSError as error:
            name = "SSL_CERT_FILE" if os.environ.get("SSL_CERT_FILE") else "SSL_CERT_DIR"
            raise UsageError(
                f"The certificates that {name} names cannot be read ({error.strerror}): correct that path."
            ) from error


def _split(base_url: str | None) -> tuple[str | None, dict[str, str]]:
    """Split an address into the part before the query, and the query."""
    if base_url is None:
        return None, {}
    try:
        HttpUrl(base_url)
    except ValueError as error:
        raise UsageError(
            f"{base_url} is not the address of a server: give --base-url one like http://127.0.0.1:8000/v1."
        ) from error
    parts = urlsplit(base_url)
    return urlunsplit((parts.scheme, parts.netloc, parts.path, "", "")), dict(parse_qsl(parts.query))


def _checked(key: str) -> str:
    key = key.strip()
    if not key.isascii() or not key.isprintable():
        raise UsageError(
            "OPENAI_API_KEY contains a character that no key can have (a line break, a quotation mark …): copy it "
            "again."
        )
    return key


def _environment(name: str) -> str | None:
    return os.environ.get(name) or os.environ.get(name.lower())


def _first_line(error: Exception) -> str:
    return str(error).split("\n")[0].split(":")[0].rstrip(".")
