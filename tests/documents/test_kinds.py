"""Files that only look like text are refused, with the name of their format; in a folder, a warning names them."""

from __future__ import annotations

from pathlib import Path

import pytest

from memagent.documents import open_documents
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
