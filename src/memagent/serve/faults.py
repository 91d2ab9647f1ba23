"""Turn errors into replies: each MemagentError gets an HTTP status and a body in OpenAI's format."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
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

_LOG = logging.getLogger(__name__)

RETRY_AFTER = "10"
"""Seconds that a client should wait before it tries again when the queue is full."""

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
"""HTTP status, type and code of each error. The first class that matches is used, so subclasses come first."""


class Fault(BaseModel):
    """Description of an error."""

    message: str
    type: str
    param: str | None
    code: str | None


class FaultReply(BaseModel):
    """Reply with an error, in OpenAI's format."""

    error: Fault


RESPONSES: dict[int | str, dict[str, Any]] = {"4XX": {"model": FaultReply}, "5XX": {"model": FaultReply}}
"""Error replies in the OpenAPI description of the service."""


def body(message: str, kind: str, code: str | None, param: str | None = None) -> dict[str, Any]:
    """Return an error in OpenAI's format."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def described(error: MemagentError) -> tuple[int, dict[str, Any]]:
    """Return the HTTP status and the body for an error."""
    status, kind, code = next(found for known, found in _STATUS.items() if isinstance(error, known))
    if isinstance(error, StorageError):  # its message names folders of the server
        _LOG.error("%s", error)
        return status, body("The disk of the service is full, or cannot be written to: try again later.", kind, code)
    return status, body(str(error), kind, code)


def install(app: FastAPI) -> None:
    """Make the app reply to errors in OpenAI's format."""

    @app.exception_handler(MemagentError)
    async def on_error(_: Request, error: MemagentError) -> JSONResponse:
        status, found = described(error)
        return JSONResponse(found, status, {"Retry-After": RETRY_AFTER} if status == 429 else None)

    @app.exception_handler(RequestValidationError)
    async def on_form(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(each) for each in first["loc"] if each not in ("body", "path", "query"))
        message = f"{where or 'The request'} is invalid: {first['msg']}."
        if first["type"] == "json_invalid":
            where, message = "", "The body of the request is not valid JSON."
        return JSONResponse(body(message, "invalid_request_error", "invalid_request", where or None), 400)

    @app.exception_handler(Exception)
    async def on_bug(_: Request, error: Exception) -> JSONResponse:  # the traceback is logged
        return JSONResponse(body("The service failed unexpectedly: see its log.", "server_error", "failed"), 500)

    @app.exception_handler(HTTPException)
    async def on_status(_: Request, error: HTTPException) -> JSONResponse:
        if isinstance(error.__cause__, OSError):  # an upload that filled the disk
            storage = StorageError(f"An upload could not be stored: {error.__cause__}.")
            return JSONResponse(described(storage)[1], described(storage)[0])
        found = body(f"{error.detail.rstrip('.')}.", "invalid_request_error", None)
        return JSONResponse(found, error.status_code, error.headers)
