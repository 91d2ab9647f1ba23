"""The page at / and the requests that it makes."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Query, Request, UploadFile
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response, StreamingResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, Field

from memagent._version import __version__
from memagent.evidence.run_page import run_page
from memagent.readers import NAMES
from memagent.runs.run import FILE, Run
from memagent.runs.threads import off_the_loop
from memagent.serve.clients import owner_of, with_patience
from memagent.serve.forms import DocumentForm
from memagent.serve.intake import keep_file, keep_named
from memagent.serve.outcome import passage_of
from memagent.serve.replies import KEEP_ALIVE, citation_of, event
from memagent.serve.service import NoSuchReading, Service
from memagent.serve.shelf import StoredReading
from memagent.serve.views import brief, full, step_of


class AskForm(BaseModel):
    """A question about documents."""

    question: Annotated[str, Field(min_length=1)]
    documents: Annotated[list[DocumentForm], Field(min_length=1, max_length=1000)]
    reader: str | None = None


class PageDoor:
    """The page, and the handlers of /api."""

    def __init__(self, service: Service, needs_key: bool) -> None:
        self._service, self._needs_key = service, needs_key

    def install(self, app: FastAPI) -> None:
        folder = Path(str(files("memagent.serve").joinpath("static")))
        app.mount("/static", StaticFiles(directory=folder), name="static")
        app.add_api_route("/", lambda: FileResponse(folder / "index.html"), include_in_schema=False)
        router = APIRouter(prefix="/api")
        html: dict[int | str, Any] = {200: {"content": {"text/html": {}}}}
        router.add_api_route("/about", self.about, methods=["GET"])
        router.add_api_route("/documents", self.upload, methods=["POST"], status_code=201)
        router.add_api_route("/readings", self.ask, methods=["POST"], status_code=202)
        router.add_api_route("/readings", self.readings, methods=["GET"])
        router.add_api_route("/readings/{id_}", self.reading, methods=["GET"])
        router.add_api_route("/readings/{id_}", self.remove, methods=["DELETE"], status_code=204)
        router.add_api_route("/readings/{id_}/cancel", self.cancel, methods=["POST"])
        router.add_api_route("/readings/{id_}/resume", self.resume, methods=["POST"])
        router.add_api_route("/readings/{id_}/events", self.events, methods=["GET"], response_class=StreamingResponse)
        router.add_api_route("/readings/{id_}/passages/{number}", self.passage, methods=["GET"])
        router.add_api_route(
            "/readings/{id_}/page.html", self.download, methods=["GET"], response_model=None, responses=html
        )
        app.include_router(router)

    async def about(self) -> dict[str, Any]:
        """Describe the service."""
        service = self._service
        return {
            "version": __version__,
            "model": service.chat.model,
            "window": service.chat.window,
            "reader": service.reader,
            "readers": list(NAMES),
            "needs_key": self._needs_key,
            "max_document_bytes": service.limits.document_bytes,
        }

    async def upload(self, request: Request, file: UploadFile) -> JSONResponse:
        """Store a document: text, HTML, PDF, DOCX or EPUB."""
        kept = await keep_file(self._service, owner_of(request), file.filename or "", file.file)
        return JSONResponse({"id": kept.id, "name": kept.name, "bytes": kept.bytes}, 201)

    async def ask(self, request: Request, form: AskForm) -> dict[str, Any]:
        """Start a reading, or join an identical one."""
        owner = owner_of(request)
        self._service.check(form.question, form.reader or None)
        ids = await keep_named(self._service, owner, form.documents)
        stored = self._service.start(owner, form.question, ids, reader=form.reader or None)
        return await full(self._service, stored)

    async def readings(self, request: Request, limit: Annotated[int, Query(ge=1, le=1000)] = 50) -> dict[str, Any]:
        """List readings, newest first."""
        found = self._service.readings(owner_of(request), limit)
        return {"readings": [brief(self._service, each) for each in found]}

    async def reading(self, request: Request, id_: str) -> dict[str, Any]:
        """Return a reading with its progress so far."""
        return await full(self._service, self._service.find(owner_of(request), id_))

    async def cancel(self, request: Request, id_: str) -> dict[str, Any]:
        """Stop a reading. Its finished turns are kept."""
        return await full(self._service, await self._service.cancel(owner_of(request), id_))

    async def resume(self, request: Request, id_: str) -> dict[str, Any]:
        """Resume a reading that ended early."""
        return await full(self._service, self._service.resume(owner_of(request), id_))

    async def remove(self, request: Request, id_: str) -> Response:
        """Delete a reading permanently."""
        await self._service.remove(owner_of(request), id_)
        return Response(status_code=204)

    async def events(self, request: Request, id_: str) -> StreamingResponse:
        """Stream a reading's changes until it ends."""
        stored = self._service.find(owner_of(request), id_)
        return StreamingResponse(self._events(stored), media_type="text/event-stream")

    async def passage(self, request: Request, id_: str, number: int) -> dict[str, Any]:
        """Return the passage of a citation. Citations are counted from 0."""
        stored = self._service.find(owner_of(request), id_)
        found = await off_the_loop(passage_of, self._service.shelf.journal(stored.id), number)
        if found is None:
            raise NoSuchReading(f"The reading {id_} has no citation {number}.")
        return citation_of(found.cited) | {"before": found.before, "after": found.after}

    async def download(self, request: Request, id_: str) -> HTMLResponse:
        """Return a reading as one self-contained HTML page."""
        stored = self._service.find(owner_of(request), id_)
        folder = self._service.shelf.journal(stored.id)
        if not (folder / FILE).exists():
            raise NoSuchReading("This reading has not read anything yet.")
        text = await off_the_loop(lambda: run_page(Run(folder)))
        return HTMLResponse(text, headers={"Content-Disposition": f'attachment; filename="{id_}.html"'})

    async def _events(self, stored: StoredReading) -> AsyncGenerator[bytes]:
        service = self._service
        yield event(await full(service, stored), "reading")
        with service.worker.attached(stored) as job:
            if job is None:  # it has ended meanwhile
                yield event(await full(service, service.find(stored.owner, stored.id)), "reading")
                return
            told = job.steps[-1].change.turn - 1 if job.steps else -1  # the latest step is sent again
            last = None
            async for _ in with_patience(job.news()):
                steps = [step for step in job.steps if step.change.turn > told]
                told = steps[-1].change.turn if steps else told
                parts = [event(step_of(step), "turn") for step in steps]
                if (now := brief(service, job.stored)) != last:
                    parts, last = [*parts, event(now, "reading")], now
                yield b"".join(parts) or KEEP_ALIVE
        yield event(await full(service, service.find(stored.owner, stored.id)), "reading")
