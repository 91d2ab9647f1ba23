"""Tell the kind of a file by its content. For plain text, the suffix or the server may also say that it is HTML.

The name is the weakest evidence: a PDF called notes.txt is read as a PDF.
"""

from __future__ import annotations

import mmap
import re
import zipfile
from pathlib import Path
from typing import Literal

from memagent.documents.encodings import marked_encoding
from memagent.documents.refusals import FORMATS, LARGEST, NotADocument, binary, damaged, protected, too_large
from memagent.errors import DocumentError

Kind = Literal["text", "html", "pdf", "docx", "epub"]

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


def kind_of(label: str, path: Path, head: bytes, markup: bool, encoding: str | None) -> Kind:
    """Return the kind of the file at `path`.

    Args:
        head: the first bytes of the file.
        markup: whether its suffix or server says that it is HTML.
        encoding: the encoding that the user gave, if any.

    Raises:
        DocumentError: the file is not a document, or it is damaged or protected.
    """
    if head.startswith(_PDF) or (_PDF in head[:1024] and label.lower().endswith(".pdf")):  # some begin with junk
        return "pdf"
    if head.startswith(_ZIP):
        return _zip_kind(label, path)
    if head.startswith(_OLE):
        raise _ole_error(label, path)
    if named := _text_format(head):
        raise NotADocument(f"{label} is {named}.")
    for magic, what in _BINARY.items():
        if head.startswith(magic):
            raise NotADocument(f"{label} is {what}, not a document: give {FORMATS}.")
    marked = marked_encoding(head)
    if b"\0" in head and not (encoding or marked):
        raise binary(label)
    start = head.decode(encoding or marked or "utf-8", errors="ignore")
    return "html" if markup or _MARKUP.match(start.lstrip("\ufeff")) else "text"


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


def _zip_kind(label: str, path: Path) -> Kind:
    try:
        with zipfile.ZipFile(path) as archive:
            members = {member.filename.replace("\\", "/"): member for member in archive.infolist()}
            word = _WORD in archive.read(_TYPES) if _TYPES in members else "word/document.xml" in members
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise damaged(label, "it begins like a DOCX or EPUB file but cannot be unpacked") from error
    if word:
        kind: Kind = "docx"
    elif "META-INF/container.xml" in members:
        kind = "epub"
    else:
        raise NotADocument(f"{label} is a zip archive that is neither DOCX nor EPUB: unpack it and give {FORMATS}.")
    if sum(member.file_size for member in members.values()) > LARGEST:
        raise too_large(label)
    if members.keys() & _EPUB_LOCKS or any(member.flag_bits & 1 for member in members.values()):
        raise DocumentError(f"{label} is protected against copying: give an unprotected copy of it.")
    return kind


def _ole_error(label: str, path: Path) -> DocumentError:
    """Return the error for an OLE container: an old Office file, or an encrypted new one. Its directory tells which."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        encrypted = content.find("EncryptedPackage".encode("utf-16-le")) >= 0
    if encrypted:
        return protected(label)
    return NotADocument(f"{label} is in an old Office format: save it as DOCX and give that.")
