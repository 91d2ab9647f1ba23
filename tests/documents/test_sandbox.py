"""A document that takes too long, is too large or crashes the converter gives an error; the next one is still read."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import threading
import time
import zipfile
from pathlib import Path

import pytest

from memagent.documents import open_documents
from memagent.documents.sandbox import SANDBOX
from memagent.errors import DocumentError


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "a.html"
    path.write_text("<html><p>The text.</p></html>")
    assert read(path) == "The text."
    return path


def read(path: Path) -> str:
    with open_documents([str(path)]) as document:
        return "".join(document.chunks())


def problem(path: Path) -> str:
    with pytest.raises(DocumentError) as caught:
        open_documents([str(path)])
    return str(caught.value).replace(str(path), path.name)


def idle() -> subprocess.Popen[bytes]:
    """Return the process that waits for the next document."""
    (converter,) = SANDBOX._idle
    return converter.process


def stop() -> int:
    os.kill(idle().pid, signal.SIGSTOP)
    return idle().pid


def test_one_that_takes_too_long(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memagent.documents.sandbox.SECONDS", 0.3)
    stop()
    assert problem(page) == ("a.html took longer than 0.005 minutes to convert: convert it to text by other means.")
    monkeypatch.undo()
    assert read(page) == "The text."


def test_one_that_brings_the_converter_down(page: Path) -> None:
    stopped = stop()
    threading.Timer(0.3, os.kill, (stopped, signal.SIGKILL)).start()
    assert problem(page) == (
        "a.html cannot be converted (the library that reads such files failed): convert it to text by other means."
    )
    assert read(page) == "The text."


def test_a_converter_that_is_gone_is_begun_again(page: Path) -> None:
    idle().kill()
    idle().wait()
    assert read(page) == "The text."


def test_a_slow_document_does_not_hold_up_another(page: Path, tmp_path: Path) -> None:
    stopped = stop()
    slow = threading.Thread(target=problem, args=[page])
    slow.start()
    while SANDBOX._idle:
        time.sleep(0.01)
    other = tmp_path / "b.html"
    other.write_text("<html><p>Another text.</p></html>")
    assert read(other) == "Another text."
    assert slow.is_alive()
    os.kill(stopped, signal.SIGKILL)
    slow.join()


def test_a_fork_has_a_converter_of_its_own(page: Path) -> None:
    before = idle().pid
    if (child := os.fork()) == 0:
        os._exit(0 if read(page) == "The text." and idle().pid != before else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert read(page) == "The text."
    assert idle().pid == before


def test_a_page_nested_without_end_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "deep.html"
    path.write_text("<html><body>" + "<div>" * 100_000 + "The text.")
    assert "The text." in read(path)


@pytest.mark.parametrize("kind", ["text", "gzip", "zip"])
def test_a_bomb(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("refusals", "text_file", "kinds"):
        monkeypatch.setattr(f"memagent.documents.{module}.LARGEST", 1 << 20)
    content = b"The river runs. " * (1 << 17)
    path = tmp_path / "bomb"
    if kind == "text":
        path.write_bytes(content)
    elif kind == "gzip":
        path.write_bytes(gzip.compress(content))
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("word/document.xml", content)
    assert problem(path) == "bomb is larger than 1 MiB when unpacked: split it into parts."
