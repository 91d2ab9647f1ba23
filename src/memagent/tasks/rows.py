"""Reads data files: text, or JSON with one object per entry. Errors name the file and the line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, TypeAdapter, ValidationError

from memagent.documents.refusals import reading
from memagent.documents.sources import open_bytes
from memagent.errors import DocumentError
from memagent.tasks import hub_rows

Row = tuple[str, dict[str, Any]]
"""Place of an entry, for messages ("Line 17 of FILE"), and the entry."""

_T = TypeVar("_T")


def _written(text: str) -> str:
    if not text.strip():
        raise ValueError("there is nothing in it")
    text.encode()  # raises ValueError for a lone surrogate, which JSON can contain
    return text


Written = Annotated[str, AfterValidator(_written)]
"""A text that is not blank."""


def read_rows(path: str | Path) -> Iterator[Row]:
    """Yield the objects of a JSONL file, of a JSON list, of a JSON list under "data", or of a data set on the hub.

    Raises:
        DocumentError: the file cannot be read, has no entries, or has an entry that is not an object.
    """
    place = ""
    for place, row in hub_rows.rows(str(path)) if hub_rows.is_hub(path) else _entries(path):
        if not isinstance(row, dict):
            raise DocumentError(f"{place} is not a JSON object: put an object with the data's keys there.")
        yield place, row
    if not place:
        raise DocumentError(f"{path} has no entries: give a file with data.")


def _entries(path: str | Path) -> Iterator[tuple[str, object]]:
    text = read_text(path)
    if not str(path).removesuffix(".gz").endswith(".jsonl"):
        try:
            return _listed(path, json.loads(text))
        except json.JSONDecodeError as error:
            if not error.msg.startswith("Extra data"):  # the error for a second line, which JSONL has
                raise _not_json(path, error.lineno, error) from error
    return _lines(path, text)


def _listed(path: str | Path, whole: object) -> Iterator[tuple[str, object]]:
    if isinstance(whole, dict):
        whole = whole.get("data", [whole])
    for number, entry in enumerate(whole if isinstance(whole, list) else [whole], 1):
        yield f"Entry {number} of {path}", entry


def _lines(path: str | Path, text: str) -> Iterator[tuple[str, object]]:
    for number, line in enumerate(text.split("\n"), 1):  # splitlines would also cut at U+2028, which JSON allows
        if line and not line.isspace():
            try:
                yield f"Line {number} of {path}", json.loads(line)
            except json.JSONDecodeError as error:
                raise _not_json(path, number, error) from error


def _not_json(path: str | Path, line: int, error: json.JSONDecodeError) -> DocumentError:
    return DocumentError(
        f"Line {line} of {path} is not JSON: {error.msg} at column {error.colno}; fix it, or give an intact copy."
    )


def read_text(path: str | Path) -> str:
    """Return the text of a file, gzipped or not."""
    if Path(path).is_dir():
        raise DocumentError(f"{path} is a folder: name the file in it.")
    with reading(str(path)), open_bytes(Path(path)) as file:
        content = file.read()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DocumentError(
            f"Line {line} of {path} is not UTF-8 text (byte 0x{content[error.start]:02x}): save the file as UTF-8."
        ) from error
    if not text or text.isspace():
        raise DocumentError(f"{path} is empty: give a file with data.")
    return text


def checked(adapter: TypeAdapter[_T], place: str, row: object, what: str, keys: str) -> _T:
    """Validate a row with the adapter. Raises DocumentError if the row is not `what`, which needs `keys`."""
    try:
        return adapter.validate_python(row)
    except ValidationError as error:
        first = error.errors()[0]
        at = ".".join(str(step) for step in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise DocumentError(f"{place} is not {what}: {at}: {message}; it needs {keys}.") from error
