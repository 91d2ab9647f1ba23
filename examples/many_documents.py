"""Ask many documents the same questions, with Ray Data on one machine or on a cluster.

    pip install memagent 'ray[data]'
    python examples/many_documents.py reports/ answers.jsonl -q "Who audited the accounts?"
    python examples/many_documents.py asked.parquet answers.parquet --model qwen3 --base-url http://gpu-1:8000/v1

DOCUMENTS is a folder, or a Parquet file with the columns `document`, `question` and optionally `name`. A `document` of
one line is the absolute path or the URL of a document; any other `document` is the text itself.

Each worker is a Ray actor with one MemoryAgent, which reads several documents at once. Each question has a journal in
--runs. If a worker dies, Ray starts another one, which repeats only the model calls that were in progress. The same
command resumes, and does not pay again for finished questions. A question that fails has its `error` in the file of
answers, and the exit status is then 1.

On a cluster, DOCUMENTS and --runs must be on shared storage. If the server needs OPENAI_API_KEY, so does every machine.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import pyarrow
import pyarrow.parquet
import ray.data
import typer

from memagent import MemoryAgent
from memagent.cli.options import BaseUrl, MemoryTokens, Model, Reader, SegmentTokens, budget_of
from memagent.disk import replacing
from memagent.documents import Document, open_documents, text_document
from memagent.errors import MemagentError, UsageError
from memagent.models.connect import connect
from memagent.runs.kept import run_name
from memagent.tasks.rows import read_text

Row = dict[str, Any]

LONGEST_PATH = 1000  # a longer line is a text


class Worker:
    """Reads for one actor. Ray calls it for several rows at once."""

    def __init__(
        self, runs: Path, model: str, base_url: str | None, segment: int | None, memory: int | None, reader: str | None
    ) -> None:
        chat = connect(model, base_url=base_url)
        budget = budget_of(chat, None, segment, memory, None)
        self._agent, self._runs = MemoryAgent(chat, budget=budget, reader=reader), runs

    async def __call__(self, row: Row) -> Row:
        return {"answer": json.dumps(await self._answer(row))}  # JSON: Arrow would guess other types for each row

    async def _answer(self, row: Row) -> Row:
        document, question = (str(row[column] or "") for column in ("document", "question"))
        name = str(row.get("name") or document.strip().partition("\n")[0][:LONGEST_PATH])
        answer: Row = {"name": name, "question": question, "answer": None, "citations": [], "warnings": []}
        try:
            with await asyncio.to_thread(opened, document, name) as text:
                run = self._runs / run_name(self._agent.header(question, text))
                found = await self._agent.ask_async(question, text, run=run)
        except MemagentError as error:
            return {**answer, "error": str(error)}
        cited = [asdict(each) for each in found.citations]
        return {**answer, "answer": found.text, "citations": cited, "warnings": found.warnings, "error": None}


def opened(document: str, name: str) -> Document:
    if "\n" in document or len(document) > LONGEST_PATH:
        return text_document(document, name)
    return open_documents([document])


def rows_of(documents: str, questions: list[str]) -> ray.data.Dataset:
    """Return a row for each question about each document, each in its own block: no answer waits for another one."""
    if "://" not in documents and not Path(documents).exists():
        raise UsageError(f"There is no {documents}: give a folder or a Parquet file.")
    if documents.endswith(".parquet"):
        if questions:
            raise UsageError(f"{documents} has its own questions: leave out -q and --questions.")
        table = ray.data.read_parquet(documents if "://" in documents else str(Path(documents).absolute()))
        if missing := {"document", "question"}.difference(table.schema().names):
            raise UsageError(f"{documents} has no column called {' or '.join(sorted(missing))}: add it.")
        return table.repartition(target_num_rows_per_block=1)
    if not questions:
        raise UsageError("There is no question: give -q or --questions.")
    folder = Path(documents).absolute()
    inside = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
    names = [name for name in inside if not any(part.startswith(".") for part in name.parts)]
    if not names:
        raise UsageError(f"{documents} is neither a Parquet file nor a folder with documents: give one of them.")
    asked = [(str(name), question) for name in names for question in questions]
    rows = [{"document": str(folder / name), "question": question, "name": name} for name, question in asked]
    return ray.data.from_items(rows, override_num_blocks=len(rows))


def counted(answers: Iterable[Row], total: int) -> Iterator[Row]:
    """Pass the answers on, and print how many there are every five seconds."""
    failed, last = 0, time.monotonic()
    for done, answer in enumerate(answers, 1):
        failed += answer["error"] is not None
        if time.monotonic() > last + 5:
            last = time.monotonic()
            print(f"{done - failed:,} of {total:,} questions answered, {failed:,} failed", file=sys.stderr)
        yield answer


def write(answers: list[Row], out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as temporary:
        if out.suffix == ".parquet":
            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(answers), temporary)
        else:
            temporary.write_text("".join(json.dumps(answer) + "\n" for answer in answers), encoding="utf-8")


def main(
    documents: Annotated[str, typer.Argument(help="A folder, or a Parquet file.")],
    out: Annotated[Path, typer.Argument(help="File for the answers: Parquet if it ends in .parquet, else JSON lines.")],
    question: Annotated[list[str] | None, typer.Option("-q", "--question", help="A question; may be repeated.")] = None,
    questions: Annotated[Path | None, typer.Option(help="A file with one question per line.")] = None,
    runs: Annotated[Path, typer.Option(help="Folder for the journals.")] = Path("runs"),
    model: Model = "local",
    base_url: BaseUrl = None,
    segment_tokens: SegmentTokens = None,
    memory_tokens: MemoryTokens = None,
    reader: Reader = None,
    workers: Annotated[int, typer.Option(min=1, help="Number of workers, each with the model.")] = 2,
    at_once: Annotated[int, typer.Option(min=1, help="Number of questions that a worker reads for at once.")] = 16,
    cpus: Annotated[float, typer.Option(min=0, help="CPU cores that Ray reserves for a worker.")] = 0,
    gpus: Annotated[float, typer.Option(min=0, help="GPUs that Ray reserves for a worker.")] = 0,
) -> None:
    """Answer questions about many documents."""
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    asked = [*(question or []), *(read_text(questions).splitlines() if questions else [])]
    settings = (runs.absolute(), model, base_url, segment_tokens, memory_tokens, reader)
    Worker(*settings)  # reports wrong settings before Ray starts
    rows = rows_of(documents, list(dict.fromkeys(each.strip() for each in asked if each.strip())))
    answered = rows.map(
        Worker,
        fn_constructor_args=settings,
        compute=ray.data.ActorPoolStrategy(
            size=workers, max_concurrent_calls_per_actor=at_once, max_tasks_in_flight_per_actor=at_once
        ),
        num_cpus=cpus,
        num_gpus=gpus,
    )
    answers = list(counted((json.loads(row["answer"]) for row in answered.iter_rows()), rows.count()))
    write(sorted(answers, key=lambda answer: (answer["name"], answer["question"])), out)
    failed = sum(answer["error"] is not None for answer in answers)
    print(f"{len(answers) - failed:,} answered, {failed:,} failed: {out}")
    raise typer.Exit(failed > 0)


if __name__ == "__main__":
    try:
        typer.run(main)
    except MemagentError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(error.status)
