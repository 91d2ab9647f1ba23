"""Put the doors on one HTTP server."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import h11
import uvicorn
from fastapi import FastAPI
from fastapi.responses import Response
from mcp.server.transport_security import TransportSecuritySettings
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from memagent._version import __version__
from memagent.serve import faults
from memagent.serve.chat_door import ChatDoor
from memagent.serve.files_door import FilesDoor
from memagent.serve.guard import HEADER_BYTES, Guard, Rules
from memagent.serve.mcp_door import mcp_server
from memagent.serve.metrics import Measured, Metrics
from memagent.serve.page_door import PageDoor
from memagent.serve.service import Service

_HEADER_SECONDS = 30.0
_UNREAD_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Doors:
    """Settings of the doors.

    Args:
        read_over: number of tokens above which a prompt is read; None for the model's default.
        progress: how a stream reports progress.
        roots: folders that MCP clients may read files from.
    """

    rules: Rules = field(default_factory=Rules)
    read_over: int | None = None
    progress: Literal["reasoning", "comments", "none"] = "reasoning"
    roots: tuple[Path, ...] = ()


@asynccontextmanager
async def opened(service: Service, doors: Doors) -> AsyncIterator[ASGIApp]:
    """Open a service, and yield the ASGI app with its doors."""
    mcp = mcp_server(service, doors.roots)
    # The guard has already checked the host and the size.
    unchecked = TransportSecuritySettings(enable_dns_rebinding_protection=False)
    tools = mcp.streamable_http_app(max_request_body_size=doors.rules.body_bytes, transport_security=unchecked)
    # FastAPI's own documentation pages load scripts from other sites.
    app = FastAPI(title="memagent", version=__version__, docs_url=None, redoc_url=None, responses=faults.RESPONSES)
    faults.install(app)
    metrics = Metrics(service)

    @app.get("/health")
    async def health() -> dict[str, str]:
        """Report that the service is running."""
        return {"status": "ok"}

    @app.get("/metrics", response_class=Response)
    async def figures() -> Response:
        """Return metrics for Prometheus."""
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)

    app.include_router(ChatDoor(service, doors.read_over, doors.progress).router())
    app.include_router(FilesDoor(service).router())
    PageDoor(service, needs_key=bool(doors.rules.keys)).install(app)
    app.router.routes.extend(tools.routes)  # not mounted, because a mount redirects /mcp to /mcp/
    async with service, mcp.session_manager.run():
        yield Measured(Guard(app, doors.rules), metrics)


class Protocol(H11Protocol):
    """HTTP with time limits: for the headers of a request, and for a client that does not read its reply."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._deadline: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        super().connection_made(transport)
        self._watch_headers()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch_headers()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread = self.loop.call_later(_UNREAD_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread:
            self._unread.cancel()

    def _watch_headers(self) -> None:
        missing = self.conn.their_state is h11.IDLE and (self.cycle is None or bool(self.conn.trailing_data[0]))
        if missing and self._deadline is None:
            self._deadline = self.loop.call_later(_HEADER_SECONDS, self.transport.close)
        elif not missing and self._deadline:
            self._deadline.cancel()
            self._deadline = None


class Server(uvicorn.Server):
    """Runs the app of a service. On shutdown, it first ends the streams that wait for readings."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=Protocol,
                h11_max_incomplete_event_size=HEADER_BYTES,
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=5,
            )
        )
        self._service = service

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._service.worker.leave()
        await super().shutdown(sockets)
