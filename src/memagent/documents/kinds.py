"""The kinds of documents: how each is recognised, and how it becomes text. `KINDS` is the table.

Kinds are recognised by content. For plain text, the suffix or the server may also say that it is HTML. The name is the
weakest evidence: a PDF called notes.txt is read as a PDF.
"""

from __future__ import annotations

import mmap
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from memagent.documents.convert import Converter, from_docx, from_epub, from_html, from_pdf
from memagent.documents.encodings import marked_encoding
from memagent.documents.refusals import FORMATS, LARGEST, NotADocument, binary, damaged, protected, too_large
from memagent.errors import DocumentError

_BINARY = {
    b"\x7fELF": "a program",
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF87a": "a GIF image",
    b"GIF89a": "a GIF image",
    b"ID3\x03": "a sound file",
    b"ID3\x04": "a sound file",
    b"OggS\0": "a sound file",
    b"SQLite format 3\0": "a database",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!\x1a\x07": "a RAR archive",
    b"BZh91AY&SY": "a bzip2 archive",
    b"\xfd7zXZ\0": "an xz archive",
    b"\x28\xb5\x2f\xfd": "a zstd archive",
    b"\x1f\x8b": "a gzip file within a gzip file",
}
_PDF = b"%PDF-"
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
NEEDS_FILE = (_PDF, *_ZIP, _OLE)
"""First bytes of files that cannot be read as a stream."""

_TYPES, _WORD = "[Content_Types].xml", b"wordprocessingml.document.main+xml"
_EPUB_LOCKS = {"META-INF/rights.xml", "META-INF/license.lcpl", "META-INF/sinf.xml"}  # Adobe's, Readium's, Apple's
_HEADERS = re.compile(rb"(?:[A-Za-z][A-Za-z0-9-]{0,60}:[^\n]{0,2000}\n(?:[ \t][^\n]{0,2000}\n){0,50}){1,200}\r?\n")
_ENCODED = re.compile(
    rb"^(?:MIME-Version:|Content-Type:\s{0,9}multipart/|Content-Transfer-Encoding:\s{0,9}(?:base64|quoted-printable))",
    re.IGNORECASE | re.MULTILINE,
)
_MARKUP = re.compile(r"(?>\s|<!--.*?-->|<\?xml.*?\?>)*+<(?:!doctype\s+html|html)\b", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Look:
    """What is known about a file before it is read."""

    label: str
    path: Path
    head: bytes
    """Its first bytes."""
    markup: bool
    """Whether its suffix or server says that it is HTML."""
    encoding: str | None
    """The encoding that the user gave."""

    @cached_property
    def members(self) -> dict[str, zipfile.ZipInfo]:
        """The files in a zip archive, by name; empty for other files. Raises DocumentError if it is damaged."""
        if not self.head.startswith(_ZIP):
            return {}
        try:
            with zipfile.ZipFile(self.path) as archive:
                return {member.filename.replace("\\", "/"): member for member in archive.infolist()}
        except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
            raise _torn(self) from error


def _is_pdf(look: Look) -> bool:
    begins_with_junk = _PDF in look.head[:1024] and look.label.lower().endswith(".pdf")
    return look.head.startswith(_PDF) or begins_with_junk


def _is_docx(look: Look) -> bool:
    types = look.members.get(_TYPES)
    if types is None or types.flag_bits & 1:  # an encrypted file cannot be read
        return "word/document.xml" in look.members
    try:
        with zipfile.ZipFile(look.path) as archive:
            return _WORD in archive.read(types)
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise _torn(look) from error


def _is_epub(look: Look) -> bool:
    return "META-INF/container.xml" in look.members


def _is_html(look: Look) -> bool:
    start = look.head.decode(look.encoding or marked_encoding(look.head) or "utf-8", errors="ignore")
    return look.markup or _MARKUP.match(start.lstrip("\ufeff")) is not None


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of document."""

    name: str
    recognises: Callable[[Look], bool]
    convert: Converter | None
    """Writes the text to a file. None means that the file is the text."""


PDF = Kind("pdf", _is_pdf, from_pdf)
DOCX = Kind("docx", _is_docx, from_docx)
EPUB = Kind("epub", _is_epub, from_epub)
HTML = Kind("html", _is_html, from_html)
TEXT = Kind("text", lambda look: True, None)

KINDS = {kind.name: kind for kind in (PDF, DOCX, EPUB, HTML, TEXT)}
"""The first one that recognises a file is its kind. Other binary files are refused before HTML and text are tried."""


def kind_of(look: Look) -> Kind:
    """Return the kind of a file.

    Raises:
        DocumentError: the file is not a document, or it is damaged or protected.
    """
    for kind in (PDF, DOCX, EPUB):
        if kind.recognises(look):
            if look.members:
                _check_archive(look)
            return kind
    _refuse_others(look)
    return HTML if HTML.recognises(look) else TEXT


def _check_archive(look: Look) -> None:
    if sum(member.file_size for member in look.members.values()) > LARGEST:
        raise too_large(look.label)
    if look.members.keys() & _EPUB_LOCKS or any(member.flag_bits & 1 for member in look.members.values()):
        raise DocumentError(f"{look.label} is protected against copying: give an unprotected copy of it.")


def _refuse_others(look: Look) -> None:
    """Raise an error for a file that is neither a document with a format of its own nor text."""
    label, head = look.label, look.head
    if head.startswith(_ZIP):
        raise NotADocument(f"{label} is a zip archive that is neither DOCX nor EPUB: unpack it and give {FORMATS}.")
    if head.startswith(_OLE):
        raise _ole_error(label, look.path)
    if named := _text_format(head):
        raise NotADocument(f"{label} is {named}.")
    for magic, what in _BINARY.items():
        if head.startswith(magic):
            raise NotADocument(f"{label} is {what}, not a document: give {FORMATS}.")
    if b"\0" in head and not (look.encoding or marked_encoding(head)):
        raise binary(label)


def _torn(look: Look) -> DocumentError:
    return damaged(look.label, "it begins like a DOCX or EPUB file but cannot be unpacked")


def _text_format(head: bytes) -> str | None:
    """Describe a file that looks like text but must be converted before it can be read; None for plain text."""
    begun = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if begun.startswith(b"{\\rtf"):
        return "an RTF file, which is not supported: save it as DOCX or PDF"
    if begun.startswith(b"%!PS"):
        return "a PostScript file, which is not supported: convert it to PDF, for example with ps2pdf"
    headers = _HEADERS.match(begun)
    if headers and _ENCODED.search(headers[0]):
        return "a saved web page or an e-mail in MIME format, which is not supported: save it as HTML, PDF or text"
    return None


def _ole_error(label: str, path: Path) -> DocumentError:
    """Return the error for an OLE container: an old Office file, or an encrypted new one. Its directory tells which."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        encrypted = content.find("EncryptedPackage".encode("utf-16-le")) >= 0
    if encrypted:
        return protected(label)
    return NotADocument(f"{label} is in an old Office format: save it as DOCX and give that.")
