from __future__ import annotations

import gzip
import hashlib
import io
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from dataclasses import astuple
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import make_documents as make
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memagent.core.segments import segments
from memagent.core.tokenizer import ByteTokenizer
from memagent.documents import bytes_document, locate, open_documents, text_document, web
from memagent.errors import DocumentError

FACTS = [
    "The lighthouse at Cape Norden was lit on 4 March 1871.",
    "Its first keeper, Ada Lindqvist, kept a diary of 312 pages & sold it for 40 crowns.",
    "Café Zoë on the pier opened in 1923, and the price of a long-distance call was 1.50 < 2.00.",
    "In the storm of 1936 the lamp failed for eleven hours.",
]


def read(*names: str | Path, encoding: str | None = None, stdin: bytes | None = None) -> str:
    stream = None if stdin is None else io.BytesIO(stdin)
    with open_documents([str(name) for name in names], encoding=encoding, stdin=stream) as document:
        return "".join(document.chunks())


def problem(*names: str | Path, encoding: str | None = None, stdin: bytes | None = None) -> str:
    """Return the error message, without the folder that the files are in."""
    with pytest.raises(DocumentError) as caught:
        read(*names, encoding=encoding, stdin=stdin)
    assert caught.value.status == 3
    return re.sub(r"/\S*/", "", str(caught.value))


def failure(address: str) -> str:
    with pytest.raises(DocumentError) as caught:
        open_documents([address])
    return str(caught.value)


def write(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def squeeze(text: str) -> str:
    return " ".join(text.split())


# ---- the stream


@pytest.mark.parametrize("kind", ["pdf", "docx", "epub", "html", "txt"])
def test_the_same_document_in_every_format_gives_the_same_facts(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"report.{kind}"
    match kind:
        case "pdf":
            make.pdf(path, FACTS)
        case "docx":
            make.docx(path, FACTS)
        case "epub":
            make.epub(path, FACTS)
        case "html":
            write(path, make.html(FACTS))
        case _:
            write(path, "\n\n".join(FACTS))
    with open_documents([str(path)]) as document:
        text = squeeze("".join(document.chunks()))
        cut = [squeeze(segment.text) for segment in segments(document.chunks(), 120, ByteTokenizer())]
    assert [fact for fact in FACTS if fact not in text] == []
    assert squeeze(" ".join(cut)) == text
    assert len(cut) > 2


def test_a_pdf_keeps_its_pages(tmp_path: Path) -> None:
    path = make.pdf(tmp_path / "three.pdf", ["The first page.", "", "The third page."])
    with open_documents([str(path)]) as document:
        text = "".join(document.chunks())
        (part,) = document.parts
        assert text == "The first page.\n\n\n\nThe third page."
        assert part.pages == (0, 17, 19)
        assert astuple(locate(document.parts, 4, 9)) == (str(path), 4, 9, 1)
        assert astuple(locate(document.parts, 19, 30)) == (str(path), 19, 30, 3)


def test_a_hyphen_at_the_end_of_a_line_stays_where_it_is(tmp_path: Path) -> None:
    path = make.pdf(tmp_path / "a.pdf", ["A long-\nterm plan of well-known things."])
    assert read(path) == "A long-\nterm plan of well-known things."


def test_documents_are_joined_with_a_blank_line_that_is_in_no_part(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a.txt", "One.\r\n"), write(tmp_path / "b.md", "# Two")
    with open_documents([str(first), str(second)]) as document:
        assert [source.size for source in document.sources] == [6, 5]
        assert document.sources[1].sha256 == hashlib.sha256(b"# Two").hexdigest()
        assert document.length == 13
        assert "".join(document.chunks()) == "One.\r\n\n\n# Two"
        assert [(part.start, part.end, part.pages) for part in document.parts] == [(0, 6, ()), (8, 13, ())]
        assert astuple(locate(document.parts, 0, 3)) == (str(first), 0, 3, None)
        assert astuple(locate(document.parts, 4, 12)) == (str(first), 4, 6, None)
        assert astuple(locate(document.parts, 6, 9)) == (str(second), 0, 1, None)
        assert astuple(locate(document.parts, 10, 99)) == (str(second), 2, 5, None)
        with pytest.raises(ValueError, match="14"):
            locate(document.parts, 14, 15)
        assert "".join(document.chunks()) == "One.\r\n\n\n# Two"


def test_a_document_may_be_read_twice_at_a_time(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "a" * 100_000)
    with open_documents([str(path), str(path)]) as document:
        once, again = document.chunks(), document.chunks()
        first = next(once)
        assert "".join(again) == "a" * 100_000 + "\n\n" + "a" * 100_000
        assert first + "".join(once) == "a" * 100_000 + "\n\n" + "a" * 100_000
        assert [(part.start, part.end) for part in document.parts] == [(0, 100_000), (100_002, 200_002)]


texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])).filter(
    lambda text: text.strip() != "" and not text.startswith("\ufeff")
)


@given(st.lists(texts, min_size=1, max_size=5))
def test_each_part_is_the_text_of_its_file(contents: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        names = [str(write(Path(folder, f"{number}.txt"), text)) for number, text in enumerate(contents)]
        with open_documents(names) as document:
            joined = "".join(document.chunks())
            assert joined == "\n\n".join(contents)
            assert [joined[part.start : part.end] for part in document.parts] == contents


@given(texts, st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]), st.integers(1, 7))
def test_a_stream_in_small_pieces_is_the_whole(text: str, encoding: str, block: int) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        path = write(Path(folder, "a.txt"), text.encode(encoding))
        with open_documents([str(path)]) as document:
            patch.setattr("memagent.documents.text_file.BLOCK", block)
            assert "".join(document.chunks()) == text


def test_a_large_file_is_read_in_constant_memory(tmp_path: Path) -> None:
    line = "Nothing happened on this day, and the keeper wrote it down — again.\n"
    path = tmp_path / "large.txt"
    with path.open("w", encoding="utf-8") as file:
        for _ in range(50_000_000 // (1000 * len(line))):
            file.write(line * 1000)
    tracemalloc.start()
    with open_documents([str(path)]) as document:
        length = sum(len(chunk) for chunk in document.chunks())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert length > 49_000_000
    assert peak < 5_000_000


def test_a_string_is_read_as_it_is() -> None:
    with text_document("\ufeffa\0\r\nb", "note") as document:
        assert "".join(document.chunks()) == "\ufeffa\0\r\nb"
        assert astuple(locate(document.parts, 1, 2)) == ("note", 1, 2, None)
        assert document.sources[0].sha256 == hashlib.sha256("\ufeffa\0\r\nb".encode()).hexdigest()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (" \n", "text has no text in it: give a document with something to read."),
        ("ab\ud800", "text contains a lone surrogate at position 2: repair the string first."),
    ],
)
def test_a_string_that_cannot_be_read(text: str, message: str) -> None:
    with pytest.raises(DocumentError) as caught:
        text_document(text)
    assert str(caught.value) == message


def test_closing_removes_the_temporary_files() -> None:
    with open_documents(["-"], stdin=io.BytesIO(b"piped")) as document:
        path = document.sources[0].path
        assert path.read_bytes() == b"piped"
    assert not path.parent.exists()


def test_a_forgotten_document_removes_its_temporary_files() -> None:
    folder = text_document("a").sources[0].path.parent
    assert not folder.exists()


def test_a_failure_removes_the_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    problem("-", "missing.txt", stdin=b"piped")
    assert list(tmp_path.iterdir()) == []


def test_the_converters_are_loaded_only_when_needed() -> None:
    code = "import sys, memagent.documents; print({'markitdown', 'pypdfium2', 'charset_normalizer'} & {*sys.modules})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


# ---- kinds and encodings


@pytest.mark.parametrize("name", ["a.txt", "a.html", "a.docx", "a"])
def test_content_decides_not_the_name(tmp_path: Path, name: str) -> None:
    assert read(make.pdf(tmp_path / name, ["A PDF."])) == "A PDF."
    assert read(make.docx(tmp_path / name, ["A letter."])) == "A letter."
    assert read(make.epub(tmp_path / name, ["A book."])).endswith("A book.")
    assert read(write(tmp_path / name, make.html(["A page."]))) == "A page."


def test_the_suffix_tells_html_without_a_head(tmp_path: Path) -> None:
    assert read(write(tmp_path / "a.htm", "<p>One <b>two</b></p>")) == "One **two**"
    assert read(write(tmp_path / "a.txt", "<p>One <b>two</b></p>")) == "<p>One <b>two</b></p>"


@pytest.mark.parametrize("name", ["a.pdf", "a.docx", "a.csv", "a.py", "a.unknown"])
def test_text_under_any_name_is_text(tmp_path: Path, name: str) -> None:
    assert read(write(tmp_path / name, "x, y\r\n1, 2\n")) == "x, y\r\n1, 2\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_byte_order_marks(tmp_path: Path, encoding: str) -> None:
    assert read(write(tmp_path / "a.txt", "naïve 文\n".encode(encoding))) == "naïve 文\n"
    page = "<html><p>naïve 文</p>".encode(encoding)
    assert read(write(tmp_path / "a.txt", page)) == "naïve 文"


def test_an_encoding_that_is_asked_for(tmp_path: Path) -> None:
    assert read(write(tmp_path / "a.txt", "naïve".encode("cp1252")), encoding="cp1252") == "naïve"
    assert read(write(tmp_path / "a.txt", "naïve".encode("utf-16-le")), encoding="utf-16-le") == "naïve"
    assert read(write(tmp_path / "a.txt", "naïve".encode("utf-8-sig")), encoding="UTF8") == "naïve"


def test_html_that_declares_its_encoding(tmp_path: Path) -> None:
    page = '<html><meta charset="iso-8859-15"><p>10 €</p></html>'
    assert read(write(tmp_path / "a.html", page.encode("iso-8859-15"))) == "10 €"
    assert read(write(tmp_path / "a.html", page.replace("iso-8859-15", "nonsense").encode())) == "10 €"


def test_comments_before_html(tmp_path: Path) -> None:
    comments = "<?xml version='1.0'?>\n" + "<!-- x -->\n" * 500
    assert read(write(tmp_path / "a.txt", comments + "<html><body>One</body></html>")) == "One"
    assert read(write(tmp_path / "a.txt", comments + "One")) == comments + "One"


def test_html_nested_too_deeply_for_markdown_is_read_as_its_text(tmp_path: Path) -> None:
    assert read(write(tmp_path / "a.html", "<div>" * 3000 + "One" + "</div>" * 3000)) == "One"


def test_a_pdf_with_junk_before_it(tmp_path: Path) -> None:
    content = make.pdf(tmp_path / "a.pdf", ["A PDF."]).read_bytes()
    assert read(write(tmp_path / "a.pdf", b"junk\n" + content)) == "A PDF."


def test_gzip_of_text_and_of_the_others(tmp_path: Path) -> None:
    assert read(write(tmp_path / "a.txt.gz", gzip.compress("naïve\r\n".encode()))) == "naïve\r\n"
    assert read(write(tmp_path / "a.html.gz", gzip.compress(b"<p>One</p>"))) == "One"
    content = make.docx(tmp_path / "a.docx", ["A letter."]).read_bytes()
    assert read(write(tmp_path / "a.docx.gz", gzip.compress(content))) == "A letter."


def test_a_folder_is_read_in_order_without_what_is_no_document(tmp_path: Path) -> None:
    (tmp_path / "b" / "deep").mkdir(parents=True)
    (tmp_path / ".git").mkdir()
    write(tmp_path / ".git" / "config", "hidden")
    write(tmp_path / ".hidden.txt", "hidden")
    write(tmp_path / "z.txt", "last")
    write(tmp_path / "a.txt", "first")
    write(tmp_path / "empty.txt", "")
    write(tmp_path / "picture.png", b"\x89PNG\r\n\x1a\n")
    write(tmp_path / "data.bin", b"\0\1\2")
    make.docx(tmp_path / "b" / "deep" / "c.docx", ["middle"])
    with open_documents([str(tmp_path)]) as document:
        assert "".join(document.chunks()) == "first\n\nmiddle\n\nlast"
        names = [os.path.relpath(source.name, tmp_path) for source in document.sources]
    assert names == ["a.txt", "b/deep/c.docx", "z.txt"]


def test_a_damaged_document_in_a_folder_is_not_passed_over(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", "first")
    write(tmp_path / "b.pdf", b"%PDF-1.7\nnothing")
    assert problem(tmp_path).startswith("b.pdf is damaged")


# ---- what is wrong with a document


def ole(name: str) -> bytes:
    """Return the container of old Office files and of encrypted new ones: its first bytes, and a directory entry."""
    return b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(1016) + name.encode("utf-16-le") + bytes(100)


GIVE = "give a text, HTML, PDF, DOCX or EPUB file"
PROBLEMS: dict[str, tuple[bytes, str]] = {
    "empty.txt": (b"", "empty.txt has no text in it: give a document with something to read."),
    "blank.txt": (b" \n\t\r\n", "blank.txt has no text in it: give a document with something to read."),
    "mark.txt": (b"\xef\xbb\xbf", "mark.txt has no text in it: give a document with something to read."),
    "blank.html": (b"<html><p> </p></html>", "blank.html has no text in it: give a document with something to read."),
    "program": (b"\x7fELF\2\1\1\0", f"program is a program, not a document: {GIVE}."),
    "photo.txt": (b"\x89PNG\r\n\x1a\n", f"photo.txt is a PNG image, not a document: {GIVE}."),
    "data.bin": (
        b"abc\0def",
        f"data.bin is binary (it contains NUL bytes), not a document: {GIVE}, "
        "or name its encoding with --encoding if it is text, for example in utf-16-le.",
    ),
    "late.bin": (
        b"a" * 200_000 + b"\0",
        f"late.bin is binary (it contains NUL bytes), not a document: {GIVE}, "
        "or name its encoding with --encoding if it is text, for example in utf-16-le.",
    ),
    "latin.txt": (
        "Der Zug fährt über die Brücke nach Köln, sagte das Mädchen. Schön wäre es früher.\n".encode("cp1252"),
        "latin.txt is not utf-8 text: the byte 0xe4 at offset 9 cannot be decoded; "
        "name its encoding with --encoding cp1250 (a guess from its bytes).",
    ),
    "odd.txt": (
        b"\xff\xfea\0b",
        "odd.txt is not utf-16 text: the byte 0x62 at offset 4 cannot be decoded; "
        "name its encoding with --encoding NAME.",
    ),
    "bad.pdf": (
        b"%PDF-1.7\nnothing\n",
        "bad.pdf is damaged (it cannot be opened as a PDF): get an intact copy of it.",
    ),
    "bad.docx": (
        b"PK\x03\x04" + bytes(50),
        "bad.docx is damaged (it begins like a DOCX or EPUB file but cannot be unpacked): get an intact copy of it.",
    ),
    "locked.docx": (
        ole("EncryptedPackage"),
        "locked.docx is protected by a password: save a copy without one and give that.",
    ),
    "old.doc": (ole("WordDocument"), "old.doc is in an old Office format: save it as DOCX and give that."),
    "cut.txt.gz": (
        gzip.compress(os.urandom(500).hex().encode())[:-20],
        "cut.txt.gz is damaged (its gzip data are wrong or end early): get an intact copy of it.",
    ),
    "bad.txt.gz": (
        b"\x1f\x8bnonsense",
        "bad.txt.gz is damaged (its gzip data are wrong or end early): get an intact copy of it.",
    ),
    "twice.gz": (
        gzip.compress(gzip.compress(b"text")),
        f"twice.gz is a gzip file within a gzip file, not a document: {GIVE}.",
    ),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    content, message = PROBLEMS[name]
    assert problem(write(tmp_path / name, content)) == message


def test_names_that_lead_nowhere(tmp_path: Path) -> None:
    write(tmp_path / "file", "text")
    assert problem() == "No document was given: name a file, a folder, a URL, or - for standard input."
    assert problem("") == "'' is not a path: name a file, a folder, a URL, or - for standard input."
    assert problem(tmp_path / "missing.txt") == "There is no file or folder missing.txt: check the path."
    assert problem(tmp_path / "file" / "below.txt") == "There is no file or folder below.txt: check the path."
    os.mkfifo(tmp_path / "pipe")
    for special in (tmp_path / "pipe", Path("/dev/null")):
        assert problem(special) == (
            f"{special.name} is a device or a pipe, not a file: pipe it in and give - as the document."
        )
    (tmp_path / "loop").symlink_to("loop")
    assert problem(tmp_path / "loop") == (
        "loop cannot be read (Too many levels of symbolic links): check its permissions and its disk."
    )
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    write(tmp_path / "folder" / "inner" / "a.png", b"\x89PNG")
    assert problem(tmp_path / "folder") == (
        "folder is a folder without a readable document: put a text, HTML, PDF, DOCX or EPUB file into it."
    )


def test_a_file_without_permission() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder, "secret.txt"), "text")
        path.chmod(0)
        Path(folder).chmod(0o755)
        user = os.geteuid()
        os.seteuid(user or 65534)  # root may read everything
        try:
            message = problem(path)
        finally:
            os.seteuid(user)
    assert message == "secret.txt cannot be read (Permission denied): check its permissions and its disk."


def test_an_encoding_that_does_not_exist_or_does_not_fit(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", b"na\xefve")
    for name in ("nonsense", "hex", ""):
        assert problem(path, encoding=name) == (
            f"There is no text encoding called {name!r}: give one such as utf-8 or cp1252."
        )
    assert problem(path, encoding="ascii").startswith("a.txt is not ascii text: the byte 0xef at offset 2 cannot")
    assert problem(path, encoding="utf-16") == (
        "a.txt is not utf-16 text (UTF-16 stream does not start with BOM): give another --encoding."
    )


def test_the_offset_of_a_bad_byte_far_into_a_file(tmp_path: Path) -> None:
    content = "é".encode() * 100_000 + b"\xff" + b"more"
    assert "the byte 0xff at offset 200000 cannot be decoded" in problem(write(tmp_path / "a.txt", content))
    assert "the byte 0xff at offset 200000 cannot be decoded" in problem(
        write(tmp_path / "a.gz", gzip.compress(content))
    )
    assert "the byte 0xc3 at offset 3 cannot be decoded" in problem(write(tmp_path / "b.txt", b"abc\xc3"))


def test_pdfs_that_cannot_be_read(tmp_path: Path) -> None:
    assert problem(make.pdf(tmp_path / "locked.pdf", ["Secret."], password="sesame")) == (
        "locked.pdf is protected by a password: save a copy without one and give that."
    )
    assert problem(make.pdf(tmp_path / "scan.pdf", ["", ""])) == (
        "scan.pdf has no text in it, only pictures of pages: run OCR on it first, "
        "for example `ocrmypdf scan.pdf text.pdf`, and give the result."
    )
    whole = make.pdf(tmp_path / "whole.pdf", FACTS).read_bytes()
    assert problem(write(tmp_path / "cut.pdf", whole[: len(whole) // 2])) == (
        "cut.pdf is damaged (it cannot be opened as a PDF): get an intact copy of it."
    )


def test_archives_that_cannot_be_read(tmp_path: Path) -> None:
    assert problem(make.archive(tmp_path / "files.zip", {"a.txt": "text"})) == (
        f"files.zip is a zip archive that is neither DOCX nor EPUB: unpack it and {GIVE}."
    )
    assert problem(make.archive(tmp_path / "half.docx", {"word/document.xml": "<w:document"})) == (
        "half.docx is damaged (it cannot be read as DOCX): get an intact copy of it."
    )
    assert problem(make.archive(tmp_path / "half.epub", {"META-INF/container.xml": "<container/>"})) == (
        "half.epub is damaged (its container does not name a package file): get an intact copy of it."
    )
    assert problem(make.docx(tmp_path / "blank.docx", [""])) == (
        "blank.docx has no text in it: give a document with something to read."
    )
    assert problem(make.epub(tmp_path / "locked.epub", FACTS, **{"META-INF/rights.xml": "<rights/>"})) == (
        "locked.epub is protected against copying: give an unprotected copy of it."
    )
    whole = make.docx(tmp_path / "whole.docx", FACTS).read_bytes()
    assert problem(write(tmp_path / "cut.docx", whole[:-40])).startswith("cut.docx is damaged")
    place = whole.index(b"lighthouse")
    assert problem(write(tmp_path / "flipped.docx", whole[:place] + b"L" + whole[place + 1 :])) == (
        "flipped.docx is damaged (it cannot be read as DOCX): get an intact copy of it."
    )


def test_a_file_that_goes_away_while_it_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "text")
    with open_documents([str(path)]) as document:
        path.unlink()
        with pytest.raises(DocumentError, match="There is no file"):
            list(document.chunks())


# ---- standard input


def test_standard_input() -> None:
    assert read("-", stdin="naïve\r\n".encode()) == "naïve\r\n"
    assert problem("-", stdin=b"") == "Standard input has no text in it: give a document with something to read."
    assert problem("-", stdin=b"\x89PNG") == f"Standard input is a PNG image, not a document: {GIVE}."


def test_standard_input_of_the_process() -> None:
    code = "from memagent.documents import open_documents as o; print(''.join(o(['-']).chunks()))"
    run = subprocess.run([sys.executable, "-c", code], input="piped", capture_output=True, text=True)
    assert run.stdout == "piped\n"


def test_a_terminal_is_no_document() -> None:
    leader, follower = os.openpty()
    with os.fdopen(follower, "rb", buffering=0) as terminal, pytest.raises(DocumentError) as caught:
        open_documents(["-"], stdin=terminal)
    os.close(leader)
    assert str(caught.value) == (
        "Standard input is a terminal, not a document: pipe one in, or name a file instead of -."
    )


# ---- the web

PAGES: dict[str, tuple[str, bytes]] = {
    "/notes": ("text/plain; charset=iso-8859-1", "naïve".encode("latin-1")),
    "/part": ("text/html", b"<p>One <b>two</b></p>"),
    "/part.html": ("", b"<p>One <b>two</b></p>"),
    "/raw.html": ("text/plain", b"<p>One <b>two</b></p>"),
    "/with%20space?q=%C3%A9": ("text/plain", b"spaced"),
    "/packed": ("text/plain", gzip.compress(b"unpacked")),
}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # needed for chunked replies

    def do_GET(self) -> None:
        if self.path == "/slow":
            time.sleep(1)
        elif self.path == "/there":
            self.send_response(302)
            self.send_header("Location", "/notes")
            self.end_headers()
        elif self.path == "/away":
            self.send_response(302)
            self.send_header("Location", "ftp://127.0.0.1/notes")
            self.end_headers()
        elif self.path == "/private":
            self.send_response(200 if self.headers["Authorization"] == "Basic YWRhOnA6dw==" else 401)
            self.end_headers()
            self.wfile.write(b"for Ada")
        elif self.path == "/loop":
            self.send_response(302)
            self.send_header("Location", "/loop")
            self.end_headers()
        elif self.path == "/short":
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write(b"too little")
        elif self.path == "/cut":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"100\r\ntoo little")
        elif self.path in ("/deflate", "/gzip"):
            self.send_response(200)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Encoding", self.path[1:])
            self.end_headers()
            self.wfile.write(zlib.compress(b"unpacked") if self.path == "/deflate" else gzip.compress(b"unpacked"))
        elif self.path in PAGES:
            kind, content = PAGES[self.path]
            self.send_response(200)
            if kind:
                self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(content)
        else:
            self.send_error(404)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running, pytest.MonkeyPatch.context() as patch:
        patch.setenv("no_proxy", "127.0.0.1")
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/notes", "naïve"),
        ("/part", "One **two**"),
        ("/part.html", "One **two**"),
        ("/raw.html", "<p>One <b>two</b></p>"),
        ("/with space?q=é", "spaced"),
        ("/packed", "unpacked"),
        ("/there", "naïve"),
        ("/deflate", "unpacked"),
        ("/gzip", "unpacked"),
    ],
)
def test_an_address(server: str, path: str, text: str) -> None:
    with open_documents([server + path]) as document:
        assert "".join(document.chunks()) == text
        assert document.parts[0].name == document.sources[0].name == server + path


def test_a_password_in_an_address_is_used_and_not_kept(server: str) -> None:
    named = server.replace("http://", "http://ada:p%3Aw@")
    with open_documents([f"{named}/private"]) as document:
        assert "".join(document.chunks()) == "for Ada"
        assert document.parts[0].name == document.sources[0].name == f"{server}/private"
    with pytest.raises(DocumentError) as caught:
        open_documents([f"{named}/nowhere"])
    assert str(caught.value).startswith(f"{server}/nowhere cannot be fetched (the server answers 404")


def test_a_loop_of_redirections_is_one_sentence(server: str) -> None:
    with pytest.raises(DocumentError) as caught:
        open_documents([f"{server}/loop"])
    assert str(caught.value).startswith(f"{server}/loop cannot be fetched (Exceeded maximum allowed redirects): check")
    assert "\n" not in str(caught.value)


def test_a_pdf_behind_an_address(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = make.pdf(tmp_path / "a.pdf", ["One.", "Two."]).read_bytes()
    monkeypatch.setitem(PAGES, "/paper", ("text/plain", content))
    with open_documents([server + "/paper"]) as document:
        assert "".join(document.chunks()) == "One.\n\nTwo."
        assert locate(document.parts, 6, 9).page == 2


def test_addresses_that_fail(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "TIMEOUT", 0.3)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{closed.getsockname()[1]}"
    other = "check the address and the network, or download it by other means and give its path."
    found = {
        address: failure(address)
        for address in (
            f"{server}/x",
            f"{server}/slow",
            f"{server}/short",
            f"{server}/cut",
            f"{server}/away",
            dead,
            "ftp://a/b",
            "http://[",
        )
    }
    assert found == {
        f"{server}/x": f"{server}/x cannot be fetched (the server answers 404 Not Found): check the address.",
        f"{server}/slow": f"{server}/slow cannot be fetched (timed out): {other}",
        f"{server}/short": f"The download of {server}/short broke off "
        "(peer closed connection without sending complete message body (received 10 bytes, expected 100)): try again.",
        f"{server}/cut": f"The download of {server}/cut broke off "
        "(peer closed connection without sending complete message body (incomplete chunked read)): try again.",
        f"{server}/away": f"{server}/away cannot be fetched "
        f"(Request URL has an unsupported protocol 'ftp://'): {other}",
        dead: f"{dead} cannot be fetched ([Errno 111] Connection refused): {other}",
        "ftp://a/b": "ftp://a/b cannot be fetched (only http and https are supported): download it and give its path.",
        "http://[": f"http://[ cannot be fetched (Invalid IPv6 URL): {other}",
    }


def test_a_host_that_does_not_exist() -> None:
    assert failure("http://nowhere.invalid/a").startswith("http://nowhere.invalid/a cannot be fetched (")


def test_bytes_are_read_by_their_kind_and_their_name_is_only_a_label(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    for name, content in (
        (str(tmp_path / "secret.txt"), b"An upload."),
        ("http://127.0.0.1:1/page", b"An upload."),
        ("-", b"An upload."),
        ("a.html", b"<p>An upload.</p>"),
        ("a.txt", gzip.compress(b"An upload.")),
    ):
        with bytes_document(content, name) as document:
            assert "".join(document.chunks()) == "An upload."
            assert [part.name for part in document.parts] == [name]
    with bytes_document("Grüße".encode("cp1252"), "a.txt", encoding="cp1252") as document:
        assert "".join(document.chunks()) == "Grüße"
    with pytest.raises(DocumentError, match=r"a\.bin is binary"):
        bytes_document(b"a\0b", "a.bin")
    with pytest.raises(DocumentError, match="There is no text encoding called 'klingon'"):
        bytes_document(b"a", "a.txt", encoding="klingon")
