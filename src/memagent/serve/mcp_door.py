"""The Model Context Protocol. Hosts end long tool calls, so separate tools start, watch and fetch a reading."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import BaseModel, Field

from memagent._version import __version__
from memagent.errors import MemagentError, UsageError
from memagent.serve.guard import LOCAL
from memagent.serve.intake import keep_path, keep_text, keep_url
from memagent.serve.service import Service
from memagent.serve.shelf import State, StoredReading
from memagent.serve.views import brief, full

_INSTRUCTIONS = """\
Answers questions about texts that are longer than your context window. Call start_reading with a question and the
documents. Then call reading_status until the state is no longer "queued" or "reading". When it is "done", call
get_answer for the answer with its citations. A long text takes minutes to hours. The reading continues between your
calls."""


class ReadingStatus(BaseModel):
    """State and progress of a reading."""

    id: str
    question: str
    documents: list[str]
    state: State
    """"queued", "reading" or "done"; "stopped", "failed" or "cancelled" if the reading ended early."""
    error: str | None
    read: float
    """Share of the documents read so far, from 0 to 1."""
    segments: int
    """Number of segments read so far."""
    seconds: float


class Source(BaseModel):
    """A passage behind the answer."""

    document: str
    page: int | None
    quote: str
    start: int
    """Start of the quote in the document, in characters."""
    end: int


class ReadingAnswer(BaseModel):
    """The answer of a finished reading."""

    id: str
    question: str
    answer: str
    citations: list[Source]
    memory: str
    """Memory at the end of the reading."""
    warnings: list[str]
    """Warnings about text that was not read, and about other reasons why the answer may be wrong."""


class ReadingList(BaseModel):
    readings: list[ReadingStatus]


class Tools:
    """The tools of the MCP server."""

    def __init__(self, service: Service, roots: Sequence[Path]) -> None:
        self._service, self._roots = service, roots

    async def start_reading(
        self,
        context: Context,
        question: Annotated[str, Field(description="One question to answer.")],
        paths: Annotated[list[str] | None, Field(description="Paths of documents in the allowed folders.")] = None,
        text: Annotated[str | None, Field(description="Text to read, alone or after the other documents.")] = None,
        urls: Annotated[list[str] | None, Field(description="URLs of documents, if the service allows them.")] = None,
        reader: Annotated[
            Literal["overwrite", "gated", "exit", "parallel", "search", "reread"] | None,
            Field(description="How to read. Leave it out to use the service's default."),
        ] = None,
    ) -> ReadingStatus:
        """Start reading documents (text, HTML, PDF, DOCX, EPUB) of any length to answer a question."""
        service, owner = self._service, _owner(context)
        with _told():
            service.check(question, reader)
            ids = [(await keep_path(service, owner, path, self._roots)).id for path in paths or ()]
            ids += [(await keep_url(service, owner, url)).id for url in urls or ()]
            if text is not None:
                ids.append((await keep_text(service, owner, "text", text)).id)
            if not ids:
                raise UsageError("There is nothing to read: give paths, URLs or text.")
            return _status(service, service.start(owner, question, ids, reader=reader))

    async def reading_status(self, context: Context, id: str) -> ReadingStatus:
        """Return the state and progress of a reading."""
        return _status(self._service, self._found(context, id))

    async def get_answer(self, context: Context, id: str) -> ReadingAnswer:
        """Return the answer of a finished reading, with the passages behind it."""
        stored = self._found(context, id)
        if stored.state != "done":
            why = f" {stored.error}" if stored.error else ""
            raise ToolError(f"The reading has no answer (state: {stored.state}).{why}")
        return ReadingAnswer.model_validate(await full(self._service, stored))

    async def list_readings(self, context: Context) -> ReadingList:
        """List the latest readings, newest first."""
        found = self._service.readings(_owner(context), 50)
        return ReadingList(readings=[_status(self._service, each) for each in found])

    async def cancel_reading(self, context: Context, id: str) -> ReadingStatus:
        """Stop a reading and keep its finished turns. start_reading with the same question and documents resumes it."""
        self._found(context, id)
        return _status(self._service, await self._service.cancel(_owner(context), id))

    def _found(self, context: Context, id_: str) -> StoredReading:
        with _told():
            return self._service.find(_owner(context), id_)


def mcp_server(service: Service, roots: Sequence[Path]) -> MCPServer[None]:
    """Return the MCP server of a service.

    Args:
        roots: folders that clients may read files from.
    """
    folders = ", ".join(str(root.absolute()) for root in roots)
    allowed = [f"files in these folders: {folders}"] if roots else []
    allowed += ["public URLs"] if service.limits.urls else []
    instructions = f"{_INSTRUCTIONS} Documents may be {'; '.join([*allowed, 'texts'])}."
    server: MCPServer[None] = MCPServer("memagent", version=__version__, instructions=instructions)
    tools = Tools(service, roots)
    for looks in (tools.reading_status, tools.get_answer, tools.list_readings):
        server.add_tool(looks, annotations=ToolAnnotations(read_only_hint=True))
    for acts in (tools.start_reading, tools.cancel_reading):
        hints = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=True)
        server.add_tool(acts, annotations=hints)
    return server


@contextmanager
def _told() -> Iterator[None]:
    """Turn a MemagentError into a ToolError, whose message the client's model can read."""
    try:
        yield
    except MemagentError as error:
        raise ToolError(str(error)) from error


def _owner(context: Context) -> str:
    """Return the owner that calls a tool. Over stdio, there is only one owner."""
    request = context.request_context.request
    return request.scope["memagent.owner"] if request else LOCAL


def _status(service: Service, stored: StoredReading) -> ReadingStatus:
    view = brief(service, stored)
    progress = view["progress"]
    share = progress["read"] / progress["characters"] if progress["characters"] else float(stored.state == "done")
    names = [each["name"] for each in view["documents"]]
    return ReadingStatus.model_validate(
        view | {"documents": names, "read": round(share, 4), "segments": progress["segments"]}
    )
