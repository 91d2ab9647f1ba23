"""Files that only look like text are refused, with the name of their format; in a folder, a warning names them."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from memagent.documents import bytes_document, open_documents
from memagent.errors import DocumentError

NAMED = {
    "an RTF file": b"{\\rtf1\\ansi caf\\'e9\\par}",
    "a PostScript file": b"%!PS-Adobe-3.0\n(one) show",
    "an e-mail in MIME": b"From: a@b\nSubject: x\nContent-Transfer-Encoding: base64\n\nQUxQSEEgb25lLg==\n",
    "a saved web page": b"Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/related;\r\n boundary=b\r\n\r\n-",
}


@pytest.mark.parametrize("named", NAMED)
@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf", b"\n "])
def test_refused_by_name(tmp_path: Path, named: str, before: bytes) -> None:
    (tmp_path / "a.txt").write_bytes(before + NAMED[named])
    with pytest.raises(DocumentError, match=named):
        open_documents([str(tmp_path / "a.txt")])


def test_in_a_folder_they_are_skipped_and_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(NAMED["an RTF file"])
    (tmp_path / "b.txt").write_text("The text.")
    with open_documents([str(tmp_path)]) as document:
        assert "".join(document.chunks()) == "The text."
        [warning] = document.warnings
    assert warning.startswith("Skipped: ")
    assert "a.txt is an RTF file" in warning


@pytest.mark.parametrize(
    "text", ["From: Ada\nTo: Bo\n\nThe rent is due.", "Note: one\n\ntwo", "{\\r is no RTF}", "Key: value"]
)
def test_text_stays_text(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.txt").write_text(text)
    with open_documents([str(tmp_path / "a.txt")]) as document:
        assert "".join(document.chunks()) == text


def test_an_encrypted_archive_is_a_protected_document(tmp_path: Path) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("[Content_Types].xml", "wordprocessingml.document.main+xml")
        archive.writestr("word/document.xml", "<w/>")
    content = file.getvalue()
    for header, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = 0
        while (start := content.find(header, start)) >= 0:
            place = start + flags
            content = content[:place] + bytes([content[place] | 1]) + content[place + 1 :]
            start += 4
    with pytest.raises(DocumentError, match="is protected against copying"):
        bytes_document(content, "a.docx")
