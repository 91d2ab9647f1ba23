"""Errors as replies: each MemagentError has an HTTP status and OpenAI's form."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from memagent.errors import (
    DocumentError,
    LimitReached,
    MemagentError,
    ModelError,
    Stopped,
    StorageError,
    UsageError,
    WindowOverflow,
)
from memagent.serve.service import Busy, NoSuchReading
from memagent.serve.shelf import NoSuchDocument

RETRY_AFTER = "10"
"""Seconds after which a client may try again when the queue is full."""

_STATUS: dict[type[MemagentError], tuple[int, str, str]] = {
    NoSuchReading: (404, "invalid_request_error", "reading_not_found"),
    NoSuchDocument: (404, "invalid_request_error", "file_not_found"),
    Busy: (429, "rate_limit_error", "queue_full"),
    DocumentError: (400, "invalid_request_error", "document"),
    WindowOverflow: (400, "invalid_request_error", "context_length_exceeded"),
    UsageError: (400, "invalid_request_error", "invalid_request"),
    LimitReached: (400, "invalid_request_error", "limit_reached"),  # not 429: trying again would not help
    StorageError: (507, "server_error", "storage"),
    ModelError: (502, "server_error", "model"),
    Stopped: (503, "server_error", "stopped"),
    MemagentError: (500, "server_error", "failed"),
}
"""HTTP status, type and code of each error. The first class that matches counts."""


def body(message: str, kind: str, code: str | None, param: str | None = None) -> dict[str, Any]:
    """Return an error in OpenAI's form."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def described(error: MemagentError) -> tuple[int, dict[str, Any]]:
    """Return the HTTP status and the body for an error."""
    status, kind, code = next(found for known, found in _STATUS.items() if isinstance(error, known))
    return status, body(str(error), kind, code)


def install(app: FastAPI) -> None:
    """Let the app answer errors in OpenAI's form."""

    @app.exception_handler(MemagentError)
    async def on_error(_: Request, error: MemagentError) -> JSONResponse:
        status, found = described(error)
        return JSONResponse(found, status, {"Retry-After": RETRY_AFTER} if status == 429 else None)

    @app.exception_handler(RequestValidationError)
    async def on_form(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(each) for each in first["loc"] if each not in ("body", "path", "query"))
        message = f"{where or 'The request'} is wrong: {first['msg']}."
        return JSONResponse(body(message, "invalid_request_error", "invalid_request", where or None), 400)

    @app.exception_handler(HTTPException)
    async def on_status(_: Request, error: HTTPException) -> JSONResponse:
        found = body(f"{error.detail}.", "invalid_request_error", None)
        return JSONResponse(found, error.status_code, error.headers)
