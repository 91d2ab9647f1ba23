"""Keep documents and the state of readings on disk, in files and one SQLite database.

FOLDER/state.sqlite      documents and readings, with their owners
FOLDER/documents/SHA256  the bytes of each document, stored once
FOLDER/readings/ID       the journal of each reading
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from filelock import FileLock, Timeout

from memagent.documents import StoredFile
from memagent.errors import DocumentError, StorageError, UsageError


class FolderInUse(UsageError):
    """Another service is using the folder."""


class NoSuchDocument(DocumentError):
    """The owner has no document with this id."""


State = Literal["queued", "reading", "done", "stopped", "failed", "cancelled"]
"""State of a reading. A reading that is "stopped" (by a limit), "failed" or "cancelled" can be resumed."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS documents (
    id TEXT PRIMARY KEY, owner TEXT NOT NULL, name TEXT NOT NULL, text INTEGER NOT NULL, sha256 TEXT NOT NULL,
    bytes INTEGER NOT NULL, created REAL NOT NULL, listed INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS readings (
    id TEXT PRIMARY KEY, owner TEXT NOT NULL, question TEXT NOT NULL, reader TEXT NOT NULL, documents TEXT NOT NULL,
    settings TEXT NOT NULL, state TEXT NOT NULL,
    error TEXT, detached INTEGER NOT NULL, created REAL NOT NULL, seconds REAL NOT NULL,
    answer TEXT, characters INTEGER NOT NULL, read INTEGER NOT NULL, segments INTEGER NOT NULL,
    turns INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS by_owner ON readings (owner, created);
CREATE INDEX IF NOT EXISTS by_sha256 ON documents (sha256);
"""


@dataclass(frozen=True, slots=True)
class StoredBytes:
    """Bytes on the shelf that have no owner yet."""

    sha256: str
    bytes: int
    path: Path
    """The temporary file that has them."""


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A document on the shelf."""

    id: str
    owner: str
    name: str
    text: bool
    """Whether the bytes are UTF-8 text, which is not checked for other formats."""
    sha256: str
    bytes: int
    created: float
    """Seconds since 1970."""
    listed: bool
    """Whether the owner uploaded the document as a file. Other documents came with a question."""


@dataclass(frozen=True, slots=True)
class StoredReading:
    """The state of a reading on the shelf."""

    id: str
    owner: str
    question: str
    reader: str
    """Name of the reader."""
    documents: tuple[str, ...]
    """Ids of the documents, in reading order."""
    settings: str
    """Digest of the settings that the reading depends on."""
    state: State = "queued"
    error: str | None = None
    detached: bool = True
    """Whether the reading continues when no client waits for it."""
    created: float = 0.0
    """When the reading was last started or resumed, in seconds since 1970."""
    seconds: float = 0.0
    """Seconds spent reading so far, over all attempts."""
    answer: str | None = None
    characters: int = 0
    """Number of characters in the documents; 0 until they are open."""
    read: int = 0
    """Number of characters in the segments read so far."""
    segments: int = 0
    turns: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Shelf:
    """The folder of a service, locked until `close()`.

    Raises:
        FolderInUse: another service is using the folder.
        StorageError: the folder cannot be written to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self._documents = self.folder / "documents"
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.folder.chmod(0o700)
            self._documents.mkdir(exist_ok=True)
            self._lock = FileLock(self.folder / "lock", blocking=False, thread_local=False)
            self._lock.acquire()
        except Timeout:
            raise FolderInUse(
                f"Another memagent service is using {self.folder}: stop it, or give another --folder."
            ) from None
        except OSError as error:
            raise StorageError(f"The folder {self.folder} cannot be written to: {error.strerror or error}.") from error
        try:
            self._database = sqlite3.connect(self.folder / "state.sqlite", isolation_level=None)
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = NORMAL")  # a power cut can lose the latest states, but no more
            self._database.executescript(_SCHEMA)
        except sqlite3.Error as error:
            self._lock.release()
            raise StorageError(f"The database in {self.folder} cannot be used: {error}.") from error

    def close(self) -> None:
        self._database.close()
        self._lock.release()

    # -- documents --------------------------------------------------------------------------------------------------

    def store(self, blocks: Iterable[bytes], name: str, most: int) -> StoredBytes:
        """Write bytes to a temporary file, for `add_document`. This may run in a thread.

        Raises:
            DocumentError: there are more than `most` bytes.
            StorageError: the disk is full.
        """
        temporary, sha256, size = self._documents / f".{uuid4().hex}", hashlib.sha256(), 0
        try:
            with keeping(self.folder), temporary.open("wb") as file:
                for block in blocks:
                    size += len(block)
                    if size > most:
                        raise DocumentError(f"{name} is larger than {most / (1 << 20):,.0f} MiB: split it into parts.")
                    sha256.update(block)
                    file.write(block)
        except (DocumentError, StorageError):
            temporary.unlink(missing_ok=True)
            raise
        return StoredBytes(sha256.hexdigest(), size, temporary)

    def add_document(self, owner: str, name: str, content: StoredBytes, *, text: bool, listed: bool) -> StoredDocument:
        """Give stored bytes a name and an owner. Equal bytes with the same name and owner are one document."""
        id_ = f"file-{digest(owner, name, text, content.sha256)}"
        content.path.replace(self._documents / content.sha256)
        self._run(
            "INSERT INTO documents VALUES (?, ?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (id) DO UPDATE SET listed = max(listed, excluded.listed), created = excluded.created",
            (id_, owner, name, text, content.sha256, content.bytes, time.time(), listed),
        )
        return self.document(owner, id_)

    def names(self, owner: str, ids: Iterable[str]) -> dict[str, str]:
        """Return the names of an owner's documents by id, without those that were removed."""
        wanted = "SELECT id, name FROM documents WHERE owner = ? AND id IN (SELECT value FROM json_each(?))"
        return dict(self._run(wanted, (owner, json.dumps(list(ids)))))

    def document(self, owner: str, id_: str) -> StoredDocument:
        """Return a document of the owner. Raises NoSuchDocument if there is none."""
        found = self._run("SELECT * FROM documents WHERE id = ? AND owner = ?", (id_, owner)).fetchone()
        if not found:
            raise NoSuchDocument(f"There is no document {id_}: upload it again.")
        return _document(found)

    def documents(self, owner: str) -> list[StoredDocument]:
        """Return the files that the owner uploaded, newest first."""
        rows = self._run("SELECT * FROM documents WHERE owner = ? AND listed ORDER BY created DESC", (owner,))
        return [_document(row) for row in rows]

    def path(self, document: StoredDocument) -> Path:
        return self._documents / document.sha256

    def files(self, reading: StoredReading) -> list[StoredFile]:
        """Return the files of a reading's documents. Raises NoSuchDocument if one was removed."""
        found = [self.document(reading.owner, id_) for id_ in reading.documents]
        return [StoredFile(each.name, self.path(each), each.text) for each in found]

    def remove_document(self, owner: str, id_: str) -> None:
        """Remove a document permanently. Its readings keep the passages that they have read, but cannot be resumed.

        Raises NoSuchDocument if the owner has no such document.
        """
        document = self.document(owner, id_)
        others = "SELECT 1 FROM documents WHERE sha256 = ? AND id != ?"
        if not self._run(others, (document.sha256, id_)).fetchone():
            self.path(document).unlink(missing_ok=True)  # before the database, which needs room on a full disk
        self._run("DELETE FROM documents WHERE id = ?", (id_,))

    # -- readings ---------------------------------------------------------------------------------------------------

    def put(self, reading: StoredReading) -> None:
        """Write the state of a reading."""
        values = [getattr(reading, field.name) for field in fields(StoredReading)]
        values[_DOCUMENTS] = json.dumps(reading.documents)
        self._run(f"INSERT OR REPLACE INTO readings VALUES ({', '.join('?' * len(values))})", values)

    def reading(self, owner: str, id_: str) -> StoredReading | None:
        row = self._run("SELECT * FROM readings WHERE id = ? AND owner = ?", (id_, owner)).fetchone()
        return _reading(row) if row else None

    def readings(self, owner: str, most: int) -> list[StoredReading]:
        """Return the owner's readings, newest first."""
        rows = self._run("SELECT * FROM readings WHERE owner = ? ORDER BY created DESC LIMIT ?", (owner, most))
        return [_reading(row) for row in rows]

    def unfinished(self) -> list[StoredReading]:
        """Return the readings that were queued or in progress when the service ended, oldest first."""
        rows = self._run("SELECT * FROM readings WHERE state IN ('queued', 'reading') ORDER BY created", ())
        return [_reading(row) for row in rows]

    def remove_reading(self, reading: StoredReading) -> None:
        """Remove a reading, its journal and its documents, except uploads and documents of other readings."""
        self.remove_journal(reading.id)  # before the database, which needs room on a full disk
        self._run("DELETE FROM readings WHERE id = ?", (reading.id,))
        self._remove_unused(reading.documents)

    def expire(self, before: float) -> None:
        """Remove readings that ended and were started before a time, and older uploads that no reading names.

        Args:
            before: seconds since 1970.
        """
        old = "SELECT * FROM readings WHERE created < ? AND state NOT IN ('queued', 'reading')"
        for row in self._run(old, (before,)).fetchall():
            self.remove_reading(_reading(row))
        unused = (
            "SELECT owner, id FROM documents WHERE created < ? AND id NOT IN "
            "(SELECT value FROM readings, json_each(readings.documents) WHERE readings.owner = documents.owner)"
        )
        for owner, id_ in self._run(unused, (before,)).fetchall():
            self.remove_document(owner, id_)

    def sweep(self) -> None:
        """Remove what a service that was killed has left behind: temporary files, and documents that nothing names."""
        self._remove_unused([id_ for (id_,) in self._run("SELECT id FROM documents WHERE NOT listed", ())])
        known = {sha256 for (sha256,) in self._run("SELECT sha256 FROM documents", ())}
        for path in self._documents.iterdir():
            if path.name not in known:
                path.unlink()

    def _remove_unused(self, ids: Iterable[str]) -> None:
        """Remove those of the documents that are neither uploads nor documents of a reading."""
        unused = (
            "SELECT owner, id FROM documents WHERE NOT listed AND id IN (SELECT value FROM json_each(?)) AND id NOT IN "
            "(SELECT value FROM readings, json_each(readings.documents) WHERE readings.owner = documents.owner)"
        )
        for owner, id_ in self._run(unused, (json.dumps(list(ids)),)).fetchall():
            self.remove_document(owner, id_)

    def remove_journal(self, id_: str) -> None:
        shutil.rmtree(self.journal(id_), ignore_errors=True)

    def journal(self, id_: str) -> Path:
        """Return the folder of a reading's journal."""
        return self.folder / "readings" / id_

    def _run(self, statement: str, values: Iterable[Any]) -> sqlite3.Cursor:
        try:
            return self._database.execute(statement, tuple(values))
        except sqlite3.OperationalError as error:  # a full disk, for example
            raise StorageError(f"The database in {self.folder} cannot be written to: {error}.") from error


@contextmanager
def keeping(folder: Path) -> Iterator[None]:
    """Turn errors of the disk, such as a full one, into a StorageError."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"The folder {folder} cannot be written to ({error.strerror or error}): make room in it."
        ) from error


def reading_id(owner: str, *identity: Any) -> str:
    """Return the id of a reading. It depends only on the owner, question, documents and settings."""
    return f"reading-{digest(owner, *identity)}"


def digest(*values: Any) -> str:
    """Return a digest of values that JSON can hold."""
    text = json.dumps(values, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _document(row: tuple[Any, ...]) -> StoredDocument:
    id_, owner, name, text, sha256, size, created, listed = row
    return StoredDocument(id_, owner, name, bool(text), sha256, size, created, bool(listed))


def _reading(row: tuple[Any, ...]) -> StoredReading:
    values = dict(zip((field.name for field in fields(StoredReading)), row, strict=True))
    values["documents"] = tuple(json.loads(values["documents"]))
    values["detached"] = bool(values["detached"])
    return StoredReading(**values)


_DOCUMENTS = [field.name for field in fields(StoredReading)].index("documents")
