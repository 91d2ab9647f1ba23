"""Find and hash the files behind a name that the user gave. Standard input and URLs go to a temporary folder first."""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import shutil
import stat
import sys
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, cast
from urllib.parse import urlsplit

from memagent.documents.refusals import blocks, empty, keeping, reading
from memagent.documents.web import fetch, without_password
from memagent.errors import DocumentError

BLOCK = 1 << 16
"""Number of bytes to read at a time, and to examine when recognising the kind of a file."""

STDIN = "-"

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_GZIP = b"\x1f\x8b"
_MARKUP_SUFFIXES = (".html", ".htm", ".xhtml")
MARKUP_TYPES = ("text/html", "application/xhtml+xml")


@dataclass(frozen=True, slots=True)
class Source:
    """One document, found but not yet parsed."""

    name: str
    """Name as the user gave it: a path, a URL, or "-" for standard input; for a file in a folder, its path."""
    path: Path
    """File on disk that contains the document's bytes."""
    sha256: str
    size: int

    @property
    def label(self) -> str:
        """Name of the source in messages."""
        return "Standard input" if self.name == STDIN else self.name


@dataclass(frozen=True, slots=True)
class Found:
    """A source, whether its server or its suffix says that it is HTML, and the charset that the server names."""

    source: Source
    markup: bool = False
    charset: str | None = None


class Spool:
    """A temporary folder that is removed when it is closed or garbage-collected, or at exit."""

    def __init__(self) -> None:
        with keeping():
            self.folder = Path(tempfile.mkdtemp(prefix="memagent-"))
        self._files = 0
        self._remove = weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)

    def file(self) -> Path:
        """Return the path for a new file."""
        self._files += 1
        return self.folder / str(self._files)

    def store(self, stream: IO[bytes], label: str) -> Path:
        """Write the rest of `stream` to a new file and return its path. Raises DocumentError or StorageError."""
        return self.keep(blocks(stream, label))

    def keep(self, content: Iterable[bytes]) -> Path:
        """Write `content` to a new file and return its path. Raises StorageError."""
        path = self.file()
        with keeping(), path.open("wb") as file:
            file.writelines(content)
        return path

    def close(self) -> None:
        self._remove()


def find(name: str, spool: Spool, stdin: BinaryIO | None) -> Iterator[Found]:
    """Yield the files that a name stands for: one file, or all files in a folder. Raises DocumentError."""
    if name == STDIN:
        yield _standard_input(spool, stdin)
    elif _ADDRESS.match(name):
        yield _download(name, spool)
    elif name and os.path.isdir(name):
        for path in _walk(Path(name)):
            yield _file(str(path), path)
    else:
        yield _file(name, Path(name))


def source_of(name: str, path: Path) -> Source:
    """Hash the file at `path` and return it as a Source."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return Source(name, path, digest, file.tell())


def is_gzip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_GZIP)) == _GZIP


def open_bytes(path: Path) -> IO[bytes]:
    """Open a file for reading; a gzip file is unpacked on the way."""
    return cast(IO[bytes], gzip.open(path)) if is_gzip(path) else path.open("rb")


def _file(name: str, path: Path) -> Found:
    if not name or "\0" in name:
        raise DocumentError(f"{name!r} is not a path: name a file, a folder, a URL, or - for standard input.")
    with reading(name):
        if not stat.S_ISREG(path.stat().st_mode):
            raise DocumentError(f"{name} is a device or a pipe, not a file: pipe it in and give - as the document.")
        source = source_of(name, path)
    return Found(source, is_markup_name(name))


def _walk(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder in sorted order, without hidden files. Links to folders are not followed."""
    with reading(str(folder)):
        for entry in sorted(folder.iterdir()):
            if entry.name.startswith("."):
                continue
            if entry.is_file():
                yield entry
            elif entry.is_dir() and not entry.is_symlink():
                yield from _walk(entry)


def _standard_input(spool: Spool, stdin: BinaryIO | None) -> Found:
    stream = stdin or (sys.stdin.buffer if sys.stdin else None)
    if stream is None:
        raise empty("Standard input")
    if stream.isatty():
        raise DocumentError("Standard input is a terminal, not a document: pipe one in, or name a file instead of -.")
    with reading("Standard input"):
        return Found(source_of(STDIN, spool.store(stream, "Standard input")))


def _download(url: str, spool: Spool) -> Found:
    page = fetch(url, spool.file())
    url = without_password(url)
    with reading(url):
        source = source_of(url, page.path)
    markup = page.type in MARKUP_TYPES if page.type else is_markup_name(urlsplit(url).path)
    return Found(source, markup, page.charset)


def is_markup_name(name: str) -> bool:
    return name.lower().removesuffix(".gz").endswith(_MARKUP_SUFFIXES)
