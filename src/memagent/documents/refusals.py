"""What can be wrong with a document, a sentence each: what it is, and what to do next."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from memagent.errors import DocumentError, StorageError

FORMATS = "a text, HTML, PDF, DOCX or EPUB file"


class NotADocument(DocumentError):
    """Empty, or of a kind that is not read. A folder may hold such files; they are passed over there."""


@contextmanager
def reading(label: str) -> Iterator[None]:
    """Turn what the file system and gzip raise into a DocumentError."""
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise damaged(label, "its gzip data are wrong or end early") from error
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DocumentError(f"There is no file or folder {label}: check the path.") from error
    except OSError as error:
        raise DocumentError(
            f"{label} cannot be read ({error.strerror or error}): check its permissions and its disk."
        ) from error


def binary(label: str) -> NotADocument:
    return NotADocument(
        f"{label} is binary (it holds zero bytes), not a document: give {FORMATS}, "
        "or name its encoding with --encoding if it is text in one such as utf-16-le."
    )


def empty(label: str) -> NotADocument:
    return NotADocument(f"{label} has no text in it: give a document with something to read.")


LARGEST = 2 << 30
"""Bytes of a document, unpacked: 500 million tokens of English."""


def too_large(label: str) -> DocumentError:
    return DocumentError(f"{label} is larger than {LARGEST >> 30} GiB, unpacked: give it in parts.")


def blocks(stream: IO[bytes], label: str) -> Iterator[bytes]:
    """All that is left in a stream, unless it is `too_large`. Raises DocumentError where it cannot be read."""
    total = 0
    with reading(label):
        while block := stream.read(1 << 20):
            total += len(block)
            if total > LARGEST:
                raise too_large(label)
            yield block


@contextmanager
def keeping() -> Iterator[None]:
    """Turn what a full or closed temporary folder raises into a StorageError."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"The temporary folder cannot be written ({error.strerror or error}): make room in it, or name another one "
            "in TMPDIR."
        ) from error


def damaged(label: str, how: str) -> DocumentError:
    return DocumentError(f"{label} is damaged ({how}): get a whole copy of it.")


def protected(label: str) -> DocumentError:
    return DocumentError(f"{label} is protected by a password: save a copy without one and give that.")
