"""Convert documents in a process of its own, which is ended when a document takes too long or brings it down.

The libraries that read HTML, DOCX, EPUB and PDF can be brought to run for hours, or to crash, by a file of a few
kilobytes. The process stays for the next document, since it takes half a second to begin.
"""

from __future__ import annotations

import atexit
import json
import os
import selectors
import subprocess
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any

from memagent.documents.conversion import Conversion
from memagent.documents.convert import Convertible, convert
from memagent.documents.encodings import TextEncoding
from memagent.documents.refusals import NotADocument
from memagent.documents.scope import Pages
from memagent.errors import DocumentError, StorageError

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

MEMORY = 4 << 30
"""Bytes of address space that a conversion may take."""

SECONDS = 600.0
"""The longest that a conversion may take. A PDF of 700 pages takes 2 seconds."""


class Sandbox:
    """Does what `convert` does, in another process. It may be called from several threads; they wait for each other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0  # a fork of this process has no child to speak to

    def convert(
        self,
        kind: Convertible,
        label: str,
        path: Path,
        encoding: TextEncoding,
        target: Path,
        pages: Pages | None = None,
    ) -> Conversion:
        """See `memagent.documents.convert.convert`.

        Raises:
            DocumentError: besides, it takes too long or brings the process down.
        """
        asked = [kind, label, os.fsencode(os.path.abspath(path)).hex(), asdict(encoding), str(target), pages]
        with self._lock:
            reply = self._ask(json.dumps(asked).encode() + b"\n")
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

    def close(self) -> None:
        if self._process and self._owner == os.getpid():
            self._process.kill()
            self._process.communicate()
        self._process = None

    def _ask(self, request: bytes) -> bytes | None:
        """The line that the process replies; empty where it ended, None where it took too long."""
        if self._process and self._owner == os.getpid() and self._process.poll() is not None:
            self.close()
        if self._process is None or self._owner != os.getpid():
            command = [sys.executable, "-m", "memagent.documents.sandbox"]
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for us
            )
            self._owner = os.getpid()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(request)
            self._process.stdin.flush()
            with selectors.DefaultSelector() as selector:
                selector.register(self._process.stdout, selectors.EVENT_READ)
                line = self._process.stdout.readline() if selector.select(SECONDS) else None
        except BrokenPipeError:
            line = b""
        if not line:
            self.close()
        return line


SANDBOX = Sandbox()
atexit.register(SANDBOX.close)


def _serve() -> None:
    """Convert what is asked for on standard input, a line each, until it is closed."""
    if resource:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no reply
    for line in sys.stdin.buffer:
        kind, label, name, encoding, target, wanted = json.loads(line)
        path, pages = Path(os.fsdecode(bytes.fromhex(name))), Pages(*wanted) if wanted else None
        found: dict[str, Any]
        try:
            found = asdict(convert(kind, label, path, TextEncoding(**encoding), Path(target), pages))
        except DocumentError as error:
            found = {"error": str(error), "skip": isinstance(error, NotADocument)}
        except StorageError as error:
            found = {"full": str(error)}
        replies.write(json.dumps(found).encode() + b"\n")
        replies.flush()


if __name__ == "__main__":
    _serve()
