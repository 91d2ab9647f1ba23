"""OpenAI's files: a client uploads a document once, then refers to it by its id in messages."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Form, Request, UploadFile
from fastapi.responses import FileResponse

from memagent.serve.clients import owner_of
from memagent.serve.intake import keep_file
from memagent.serve.service import Service
from memagent.serve.shelf import StoredDocument


class FilesDoor:
    """The handlers of /v1/files."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def router(self) -> APIRouter:
        router = APIRouter(prefix="/v1/files")
        router.add_api_route("", self.upload, methods=["POST"])
        router.add_api_route("", self.files, methods=["GET"])
        router.add_api_route("/{id_}", self.file, methods=["GET"])
        router.add_api_route("/{id_}", self.remove, methods=["DELETE"])
        router.add_api_route("/{id_}/content", self.content, methods=["GET"], response_class=FileResponse)
        return router

    async def upload(
        self, request: Request, file: UploadFile, purpose: Annotated[str, Form()] = "user_data"
    ) -> dict[str, Any]:
        """Store a document: text, HTML, PDF, DOCX or EPUB."""
        return _shown(await keep_file(self._service, owner_of(request), file.filename or "", file.file))

    async def files(self, request: Request) -> dict[str, Any]:
        """List the uploaded documents, newest first."""
        found = [_shown(each) for each in self._service.shelf.documents(owner_of(request))]
        return {"object": "list", "data": found, "has_more": False}

    async def file(self, request: Request, id_: str) -> dict[str, Any]:
        """Describe a document."""
        return _shown(self._service.shelf.document(owner_of(request), id_))

    async def remove(self, request: Request, id_: str) -> dict[str, Any]:
        """Delete a document. Its readings keep the passages that they have read, but cannot be resumed."""
        self._service.shelf.remove_document(owner_of(request), id_)
        return {"id": id_, "object": "file", "deleted": True}

    async def content(self, request: Request, id_: str) -> FileResponse:
        """Return the bytes of a document."""
        document = self._service.shelf.document(owner_of(request), id_)
        # As a download, because a browser that displayed an uploaded page would run its scripts in our origin.
        return FileResponse(
            self._service.shelf.path(document), media_type="application/octet-stream", filename=document.name
        )


def _shown(document: StoredDocument) -> dict[str, Any]:
    return {
        "id": document.id,
        "object": "file",
        "bytes": document.bytes,
        "created_at": int(document.created),
        "filename": document.name,
        "purpose": "user_data",
        "status": "processed",
    }
