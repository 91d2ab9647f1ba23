"""Turn paths, folders, URLs and standard input into one stream of text, and keep track of where each part came from.

    sources.py   finds the files behind a name that the user gave (web.py downloads URLs)
    kinds.py     recognises text, HTML, PDF, DOCX and EPUB; its table says how each is converted
    encodings.py finds the encoding of a text
    text_file.py streams the characters of a text file
    convert.py   converts the other kinds to a text file (with pdf.py, docx*.py, epub.py, xml.py)
    sandbox.py   runs these conversions in a separate process
    document.py  joins several texts into one
    scope.py     parses names for part of a document, such as a.pdf#pages=3-5
    refusals.py  holds the error messages, one sentence each

A bad document is found when it is opened, before any model is called: each file is hashed, then decoded or converted
once from beginning to end. A text file is never held in memory as a whole.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from memagent.documents.document import Document, Located, Part, locate
from memagent.documents.encodings import DECLARED_WITHIN, TextEncoding, encoding_of, is_known_encoding
from memagent.documents.kinds import HTML, NEEDS_FILE, PDF, TEXT, Look, kind_of
from memagent.documents.refusals import FORMATS, NotADocument, reading
from memagent.documents.sandbox import SANDBOX
from memagent.documents.scope import Pages, split_scope
from memagent.documents.sources import BLOCK, Found, Source, Spool, find, is_gzip, is_markup_name, open_bytes, source_of
from memagent.documents.text_file import TextFile
from memagent.errors import DocumentError, StorageError

__all__ = [
    "Document",
    "Located",
    "Part",
    "Source",
    "StoredFile",
    "bytes_document",
    "locate",
    "open_documents",
    "stored_documents",
    "text_document",
]


def open_documents(names: Sequence[str], *, encoding: str | None = None, stdin: BinaryIO | None = None) -> Document:
    """Find, check and open the documents that `names` stand for. Close the result to remove its temporary files.

    Args:
        encoding: the encoding of all plain text and HTML files. Without it, the byte order mark decides, then the
            server, then the declaration in the page, then UTF-8.
        stdin: the stream to read for the name "-"; the process's own when None.
    """
    _check_encoding(encoding)
    spool = Spool()
    skipped: list[str] = []
    try:
        texts = [text for name in names for text in _texts(name, spool, encoding, stdin, skipped)]
        if not texts:
            raise DocumentError("No document was given: name a file, a folder, a URL, or - for standard input.")
    except (DocumentError, StorageError):
        spool.close()
        raise
    return Document(texts, spool, skipped)


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file that a program keeps, such as an upload. `name` only labels it: it is never opened as a path or a URL.

    With `text`, the file's bytes are UTF-8 text and are not searched for another format. Without it, a name that ends
    in .html marks text as HTML.
    """

    name: str
    path: Path
    text: bool = False


def stored_documents(files: Sequence[StoredFile], *, encoding: str | None = None) -> Document:
    """Open files that a program keeps, as one document. For `encoding` and errors, see `open_documents`."""
    return _stored(files, Spool(), encoding)


def bytes_document(content: bytes, name: str, *, encoding: str | None = None) -> Document:
    """Open the bytes of a file, as `stored_documents` opens a file."""
    spool = Spool()
    return _stored([StoredFile(name, spool.keep([content]))], spool, encoding)


def text_document(text: str, name: str = "text") -> Document:
    """Wrap a string as a document, without changing the text."""
    try:
        content = text.encode()
    except UnicodeEncodeError as error:
        raise DocumentError(
            f"{name} contains a lone surrogate at position {error.start}: repair the string first."
        ) from error
    spool = Spool()
    return _stored([StoredFile(name, spool.keep([content]), text=True)], spool, None)


def _stored(files: Sequence[StoredFile], spool: Spool, encoding: str | None) -> Document:
    try:
        _check_encoding(encoding)
        return Document([_stored_text(file, spool, encoding) for file in files], spool)
    except (DocumentError, StorageError):
        spool.close()
        raise


def _stored_text(file: StoredFile, spool: Spool, encoding: str | None) -> TextFile:
    with reading(file.name):
        source = source_of(file.name, file.path)
    if not file.text:
        return _text(Found(source, is_markup_name(file.name)), spool, encoding)
    text = TextFile(source, file.path, TextEncoding())
    text.check(zeros=True)
    return text


def _check_encoding(encoding: str | None) -> None:
    if encoding is not None and not is_known_encoding(encoding):
        raise DocumentError(f"There is no text encoding called {encoding!r}: give one such as utf-8 or cp1252.")


def _texts(name: str, spool: Spool, encoding: str | None, stdin: BinaryIO | None, skipped: list[str]) -> list[TextFile]:
    """Open the documents that `name` stands for. In a folder, other files are skipped, with a message in `skipped`."""
    whole, pages = split_scope(name)
    if not os.path.isdir(whole):
        return [_text(found, spool, encoding, pages) for found in find(whole, spool, stdin)]
    texts = []
    for found in find(name, spool, stdin):
        try:
            texts.append(_text(found, spool, encoding))
        except NotADocument as error:
            skipped.append(f"Skipped: {error}")
    if not texts:
        raise DocumentError(f"{name} is a folder without a readable document: put {FORMATS} into it.")
    return texts


def _text(found: Found, spool: Spool, encoding: str | None, pages: Pages | None = None) -> TextFile:
    """Open one source as text and read it once to its end."""
    source, path = found.source, found.source.path
    if pages:
        source = replace(source, name=f"{source.name}#pages={pages}")
    with reading(source.label):
        with open_bytes(path) as file:
            head = file.read(BLOCK)
        if head.startswith(NEEDS_FILE) and is_gzip(path):
            with open_bytes(path) as file:
                path = spool.store(file, source.label)
        kind = kind_of(Look(source.label, path, head, found.markup, encoding))
        if pages and kind is not PDF:
            raise DocumentError(f"{source.label} has no pages because it is not a PDF: leave out the #pages part.")
        if kind is HTML:
            with open_bytes(path) as file:
                head = file.read(DECLARED_WITHIN)
        text = TextFile(source, path, encoding_of(head, kind is HTML, encoding, found.charset))
        if kind in (TEXT, HTML):
            text.check(zeros=encoding is not None)
        if kind is TEXT:
            return text
        if is_gzip(path):
            with open_bytes(path) as file:
                path = spool.store(file, source.label)
        target = spool.file()
        conversion = SANDBOX.convert(kind, source.label, path, text.encoding, target, pages)
        return TextFile(source, target, pages=conversion.pages, warnings=conversion.warnings)
