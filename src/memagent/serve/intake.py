"""Bring documents from clients onto the shelf: uploads, texts, data URLs, web pages, and files in allowed folders."""

from __future__ import annotations

import asyncio
import base64
import binascii
import os
import stat
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from memagent.documents import StoredFile, stored_documents
from memagent.documents.sources import MARKUP_TYPES, is_markup_name
from memagent.documents.web import fetch, without_password
from memagent.errors import DocumentError
from memagent.runs.threads import in_a_thread_of
from memagent.serve.forms import DocumentForm, IdForm, UrlForm
from memagent.serve.service import Service
from memagent.serve.shelf import StoredBytes, StoredDocument

_BLOCK = 1 << 20
_URL_SECONDS = 120.0
_NAME = 255  # characters


async def keep_file(service: Service, owner: str, name: str, file: BinaryIO) -> StoredDocument:
    """Store an uploaded file. Raises DocumentError if it cannot be read as a document, and StorageError."""
    return await _keep_checked(service, owner, name, iter(lambda: file.read(_BLOCK), b""), listed=True)


async def keep_text(service: Service, owner: str, name: str, text: str, *, listed: bool = False) -> StoredDocument:
    """Store a text unchanged. Raises DocumentError if it is too long or blank, and StorageError."""
    name = _label(name)
    if not text.strip():
        raise DocumentError(f"{name} has no text in it: give a document with something to read.")
    try:
        content = await asyncio.to_thread(text.encode)
    except UnicodeEncodeError as error:
        raise DocumentError(
            f"{name} contains a lone surrogate at position {error.start}: repair the text first."
        ) from error
    stored = await _store(service, [content], name)
    return service.shelf.add_document(owner, name, stored, text=True, listed=listed)


async def keep_data(service: Service, owner: str, name: str, data: str) -> StoredDocument:
    """Store a file that a message holds as a data URL or plain base64. Raises DocumentError and StorageError."""
    encoded = data.partition(",")[2] if data.startswith("data:") else data
    try:
        content = await asyncio.to_thread(base64.b64decode, encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise DocumentError(f"{_label(name)} is not valid base64 ({error}): send file_data as a data URL.") from error
    return await _keep_checked(service, owner, name, [content], listed=False)


async def keep_path(service: Service, owner: str, path: str, roots: Sequence[Path]) -> StoredDocument:
    """Store a copy of a file inside one of the `roots`. Raises DocumentError and StorageError."""
    with await asyncio.to_thread(open_below, path, roots) as file:
        return await _keep_checked(service, owner, Path(path).name, iter(lambda: file.read(_BLOCK), b""), listed=False)


async def keep_url(service: Service, owner: str, url: str) -> StoredDocument:
    """Download the document at a public URL, and store it. Raises DocumentError and StorageError."""
    if not service.limits.urls:
        raise DocumentError(
            "This service does not fetch URLs: send the document itself, or start the service with --allow-urls."
        )
    with tempfile.TemporaryDirectory() as folder:
        most = service.limits.document_bytes
        target, seconds = Path(folder) / "page", _URL_SECONDS
        page = await service.worker.opening.run(owner, fetch, url, target, public=True, largest=most, seconds=seconds)
        name = without_password(url)
        if page.type in MARKUP_TYPES and not is_markup_name(name):
            name = f"{name}.html"
        with page.path.open("rb") as file:
            return await _keep_checked(service, owner, name, iter(lambda: file.read(_BLOCK), b""), listed=False)


async def keep_named(service: Service, owner: str, forms: Iterable[DocumentForm]) -> list[str]:
    """Store the documents that a request names, and return their ids. Raises DocumentError and StorageError."""
    found = []
    for form in forms:
        if isinstance(form, IdForm):
            found.append(form.id)
        elif isinstance(form, UrlForm):
            found.append((await keep_url(service, owner, form.url)).id)
        else:
            found.append((await keep_text(service, owner, form.name, form.text)).id)
    return found


def open_below(path: str, roots: Sequence[Path]) -> BinaryIO:
    """Open a file whose path, with all links resolved, lies inside one of the `roots`.

    The resolved path is opened folder by folder without following links, so that nobody can swap in a link after the
    check.

    Raises:
        DocumentError: there is no such file inside the roots. The message does not reveal whether it exists elsewhere.
    """
    refused = DocumentError(f"{path!r} is not a file in a folder that this service may read.")
    try:
        real = Path(path).resolve(strict=True)
        root = next((each.resolve() for each in roots if real.is_relative_to(each.resolve())), None)
    except (OSError, ValueError, RuntimeError) as error:
        raise refused from error
    if root is None or real == root:
        raise refused
    with ExitStack() as stack:
        try:
            folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            stack.callback(os.close, folder)
            *folders, name = real.relative_to(root).parts
            for each in folders:
                folder = os.open(each, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
                stack.callback(os.close, folder)
            # Without O_NONBLOCK, opening a named pipe would wait for a writer.
            opened = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
        except OSError as error:
            raise refused from error
    file = os.fdopen(opened, "rb")
    if not stat.S_ISREG(os.fstat(opened).st_mode):
        file.close()
        raise refused
    return file


async def _keep_checked(
    service: Service, owner: str, name: str, blocks: Iterable[bytes], *, listed: bool
) -> StoredDocument:
    name = _label(name)
    stored = await _store(service, blocks, name)
    try:
        await service.worker.opening.run(owner, _check, StoredFile(name, stored.path))
        return service.shelf.add_document(owner, name, stored, text=False, listed=listed)
    finally:
        stored.path.unlink(missing_ok=True)


async def _store(service: Service, blocks: Iterable[bytes], name: str) -> StoredBytes:
    return await in_a_thread_of(None, service.shelf.store, blocks, name, service.limits.document_bytes)


def _check(file: StoredFile) -> None:
    stored_documents([file]).close()


def _label(name: str) -> str:
    """Return a file's name without its folders, cut to a maximum length, in characters that can be stored."""
    last = name.replace("\\", "/").rstrip("/").rpartition("/")[2]
    return last.encode("utf-8", "replace").decode()[-_NAME:] or "document"
