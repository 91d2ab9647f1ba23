"""Error messages about documents. Each says what is wrong and what to do next."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from memagent.errors import DocumentError, StorageError

FORMATS = "a text, HTML, PDF, DOCX or EPUB file"


class NotADocument(DocumentError):
    """The file is empty or of an unsupported kind. In a folder, such files are skipped."""


@contextmanager
def reading(label: str) -> Iterator[None]:
    """Turn errors of the file system and of gzip into a DocumentError."""
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
        f"{label} is binary (it contains NUL bytes), not a document: give {FORMATS}, "
        "or name its encoding with --encoding if it is text, for example in utf-16-le."
    )


def empty(label: str) -> NotADocument:
    return NotADocument(f"{label} has no text in it: give a document with something to read.")


LARGEST = 2 << 30
"""Size of the largest document, unpacked, in bytes: 500 million tokens of English."""


def too_large(label: str, largest: int | None = None) -> DocumentError:
    """Return the error for a document of more than `largest` bytes, or of more than LARGEST."""
    largest = largest or LARGEST
    size = f"{largest >> 30} GiB" if largest >= 1 << 30 else f"{largest / (1 << 20):,.0f} MiB"
    return DocumentError(f"{label} is larger than {size} when unpacked: split it into parts.")


def blocks(stream: IO[bytes], label: str) -> Iterator[bytes]:
    """Yield the rest of a stream in blocks. Raises DocumentError if it cannot be read or is too large."""
    total = 0
    with reading(label):
        while block := stream.read(1 << 20):
            total += len(block)
            if total > LARGEST:
                raise too_large(label)
            yield block


@contextmanager
def keeping() -> Iterator[None]:
    """Turn errors of a full or closed temporary folder into a StorageError."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"The temporary folder cannot be written to ({error.strerror or error}): make room in it, or set TMPDIR "
            "to another folder."
        ) from error


def damaged(label: str, how: str) -> DocumentError:
    return DocumentError(f"{label} is damaged ({how}): get an intact copy of it.")


def protected(label: str) -> DocumentError:
    return DocumentError(f"{label} is protected by a password: save a copy without one and give that.")
