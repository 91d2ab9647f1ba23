"""Convert documents in separate processes, which are killed if a document takes too long.

A file of a few kilobytes can make the libraries that read HTML, DOCX, EPUB and PDF run for hours or crash. A process is
kept for the next document, because it takes half a second to start.
"""

from __future__ import annotations

import atexit
import json
import os
import selectors
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from memagent.documents.conversion import Conversion
from memagent.documents.encodings import TextEncoding
from memagent.documents.kinds import KINDS, Kind
from memagent.documents.refusals import NotADocument
from memagent.documents.scope import Pages
from memagent.errors import DocumentError, StorageError

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

MEMORY = 4 << 30
"""Bytes of address space that a process may use."""

SECONDS = 600.0
"""Longest time that a conversion may take. A PDF of 700 pages takes 2 seconds."""


class Sandbox:
    """Converts documents in other processes. Several threads may use it; each then has its own process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[_Converter] = []
        self._busy: list[_Converter] = []

    def convert(
        self,
        kind: Kind,
        label: str,
        path: Path,
        encoding: TextEncoding,
        target: Path,
        pages: Pages | None = None,
    ) -> Conversion:
        """Do what `kind.convert` does, see `memagent.documents.convert.Converter`.

        Raises:
            DocumentError: also if the conversion takes too long or crashes the process.
        """
        asked = [kind.name, label, os.fsencode(os.path.abspath(path)).hex(), asdict(encoding), str(target), pages]
        with self._converter() as converter:
            reply = converter.ask(json.dumps(asked).encode() + b"\n")
        if reply is None:
            raise DocumentError(
                f"{label} took longer than {SECONDS / 60:g} minutes to convert: convert it to text by other means."
            )
        if not reply:
            raise DocumentError(
                f"{label} cannot be converted (the library that reads such files failed): convert it to text by other "
                "means."
            )
        found = json.loads(reply)
        if "full" in found:
            raise StorageError(found["full"])
        if "error" in found:
            raise (NotADocument if found["skip"] else DocumentError)(found["error"])
        return Conversion(tuple(found["pages"]), tuple(found["warnings"]))

    def interrupt(self) -> None:
        """End the conversions in progress, which then raise a DocumentError. May be called in another thread."""
        for converter in list(self._busy):
            converter.kill()

    def close(self) -> None:
        for converter in [*self._idle, *self._busy]:
            converter.close()
        self._idle.clear()

    @contextmanager
    def _converter(self) -> Iterator[_Converter]:
        with self._lock:
            converter = self._idle.pop() if self._idle else _Converter()
            if not converter.usable:
                converter.close()
                converter = _Converter()
            self._busy.append(converter)
        try:
            yield converter
        finally:
            with self._lock:
                self._busy.remove(converter)
                if self._idle:  # one is enough for the next document
                    converter.close()
                else:
                    self._idle.append(converter)


class _Converter:
    """A process that converts one document at a time."""

    def __init__(self) -> None:
        command = [sys.executable, "-P", "-m", "memagent.documents.sandbox"]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # so that Ctrl-C does not reach it
        )
        self._owner = os.getpid()  # a fork has to start its own

    @property
    def usable(self) -> bool:
        return self._owner == os.getpid() and self.process.poll() is None

    def kill(self) -> None:
        if self._owner == os.getpid():
            self.process.kill()

    def close(self) -> None:
        if self._owner == os.getpid():
            self.process.kill()
            self.process.communicate()

    def ask(self, request: bytes) -> bytes | None:
        """Return the process's reply, one line; empty if the process ended, None if it took too long."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(request)
            self.process.stdin.flush()
            with selectors.DefaultSelector() as selector:
                selector.register(self.process.stdout, selectors.EVENT_READ)
                line = self.process.stdout.readline() if selector.select(SECONDS) else None
        except BrokenPipeError:
            line = b""
        if not line:
            self.close()
        return line


SANDBOX = Sandbox()
atexit.register(SANDBOX.close)


def _serve() -> None:
    """Read requests from standard input, one per line, and convert the documents, until the input is closed."""
    if resource:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # so that a library that prints cannot spoil the replies
    for line in sys.stdin.buffer:
        kind, label, name, encoding, target, wanted = json.loads(line)
        path, pages = Path(os.fsdecode(bytes.fromhex(name))), Pages(*wanted) if wanted else None
        convert = KINDS[kind].convert
        assert convert is not None  # text is read as it is
        found: dict[str, Any]
        try:
            found = asdict(convert(label, path, TextEncoding(**encoding), Path(target), pages))
        except DocumentError as error:
            found = {"error": str(error), "skip": isinstance(error, NotADocument)}
        except StorageError as error:
            found = {"full": str(error)}
        replies.write(json.dumps(found).encode() + b"\n")
        replies.flush()


if __name__ == "__main__":
    _serve()
