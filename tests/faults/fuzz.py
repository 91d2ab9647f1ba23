"""Fuzz memagent with atheris, which changes inputs to reach code not yet run, until it is stopped.

    pip install atheris
    PYTHONPATH=tests python tests/faults/fuzz.py journal -max_total_time=600

The target is journal, document, reply or quotes; the arguments after it are for libFuzzer. This is not one of the
tests, which draw their bytes at random.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris
import make_documents as make

with atheris.instrument_imports(include=["memagent"]):
    import memagent.documents.sandbox as sandbox
    from memagent import MemoryAgent, open_documents, text_document
    from memagent.core.quoting import Section, squeezed
    from memagent.errors import DocumentError, RunError
    from memagent.models.http_replies import Draft, Listing, Reply
    from memagent.models.scripted import ScriptedChat
    from memagent.runs.run import FILE, Run

Target = tuple[Callable[[bytes], None], list[bytes]]
"""A function that reads bytes, and good inputs to begin with."""


def a_sentence(error: Exception) -> None:
    assert "\n" not in str(error)


def journal(folder: Path) -> Target:
    """Fuzz the lines of a run after its header, because a changed header would be refused at once."""
    with MemoryAgent(ScriptedChat(lambda request: "a memory")) as agent, text_document("Text. " * 3000) as document:
        agent.ask("What?", document, run=folder / "run")
    path = folder / "run" / FILE
    header, lines = path.read_bytes().split(b"\n", 1)

    def read(data: bytes) -> None:
        path.write_bytes(header + b"\n" + data)
        try:
            run = Run(folder / "run")
            json.dumps([[turn.memory, run.end] for turn in run.trace.turns])
        except RunError as error:
            a_sentence(error)

    return read, [lines]


def document(folder: Path) -> Target:
    """Fuzz files of every kind, told by their bytes. They are converted in this process, so that atheris sees it."""
    sandbox.SANDBOX.convert = lambda kind, *arguments: kind.convert(*arguments)  # type: ignore[method-assign]
    path = folder / "document"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        try:
            with open_documents([str(path)]) as found:
                assert sum(map(len, found.chunks())) == found.length
        except DocumentError as error:
            a_sentence(error)

    pages = ["One page.", "Two pages."]
    good = [make.pdf(folder / "a.pdf", pages), make.docx(folder / "a.docx", pages), make.epub(folder / "a.epub", pages)]
    page = b"<!doctype html><meta charset=gbk><ul><li>One<table><tr><td rowspan=2>Two</table></ul>"
    return read, [page, gzip.compress(page), *(each.read_bytes() for each in good)]


def reply(folder: Path) -> Target:
    """Fuzz the JSON of a server: a completion in parts, or its list of models."""

    def read(data: bytes) -> None:
        draft = Draft()
        for line in data.split(b"\n"):
            try:
                value = json.loads(line)
            except (ValueError, RecursionError):
                continue
            for parse in (Listing.read, lambda value: draft.add(Reply.model_validate(value))):
                with contextlib.suppress(ValueError):  # pydantic's
                    parse(value)
        assert draft.text in (draft.content or "")
        assert draft.shown in draft.text

    said = {"content": [{"type": "text", "text": "<think>Hm.</think> Ada"}], "reasoning": "Hm."}
    whole = {"choices": [{"message": said, "finish_reason": "stop"}], "usage": {"prompt_tokens": 9}, "error": None}
    parts = [{"choices": [{"delta": {"content": word}}]} for word in ("<think>", "Hm.</think>", "Ada")]
    models = {"data": [{"id": "m", "max_model_len": "8192"}]}
    return read, [json.dumps(whole).encode(), b"\n".join(json.dumps(each).encode() for each in (models, *parts))]


def stands(text: str, place: int, quote: str) -> bool:
    """Whether the text at `place` begins with the quote; the quote may have a heading in front."""
    parts = quote.split(": ")
    return any(squeezed(text[place:]).startswith(": ".join(parts[start:])) for start in range(len(parts)))


def quotes(folder: Path) -> Target:
    """Fuzz lines that may stand in a section. Whatever is found must be the section's own text."""

    def read(data: bytes) -> None:
        text, _, lines = data.decode(errors="ignore").partition("\0")
        section = Section(text)
        for line in lines.split("\n"):
            for found in (section.find(line), section.sentence(line, "Who?"), section.nearest(line)):
                assert found is None or stands(text, *found)

    return read, ["Louvre\n“It was built in 1190-\n1202.” • It is old.\0It was built\nLouvre: it is old".encode()]


TARGETS = {each.__name__: each for each in (journal, document, reply, quotes)}


if __name__ == "__main__":
    name = sys.argv.pop(1)
    with tempfile.TemporaryDirectory() as folder:
        read, good = TARGETS[name](Path(folder))
        seeds = Path(folder) / "seeds"
        seeds.mkdir()
        for number, each in enumerate(good):
            (seeds / str(number)).write_bytes(each)
        atheris.Setup([*sys.argv, str(seeds)], read)
        atheris.Fuzz()
