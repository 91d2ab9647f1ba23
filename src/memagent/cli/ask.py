"""`memagent ask QUESTION DOCUMENT…`"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from memagent.cli import app
from memagent.cli.options import (
    AnswerFormat,
    AnswerTokens,
    BaseUrl,
    Debug,
    Json,
    Memory,
    MemoryTokens,
    Model,
    Price,
    PromptLayout,
    QuestionTokens,
    Quiet,
    Reader,
    SegmentTokens,
    TokenizerFile,
    Window,
    budget_of,
    price_of,
    reader_of,
)
from memagent.core.segments import Cut
from memagent.errors import UsageError


@app.command()
def ask(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[QUESTION] DOCUMENT",
            help="The question (unless given by -q or --questions), then files, folders, URLs, or - for stdin.",
            show_default=False,
        ),
    ] = None,
    question: Annotated[list[str] | None, typer.Option("-q", "--question", help="A question; may be repeated.")] = None,
    questions: Annotated[Path | None, typer.Option(help="A file with one question per line.")] = None,
    model: Model = "local",
    base_url: BaseUrl = None,
    tokenizer: TokenizerFile = None,
    window: Window = None,
    question_tokens: QuestionTokens = None,
    segment_tokens: SegmentTokens = None,
    memory_tokens: MemoryTokens = None,
    answer_tokens: AnswerTokens = None,
    cut: Annotated[
        Cut, typer.Option(help="Where segments end: natural (paragraphs, sentences, words) or tokens (the paper).")
    ] = "natural",
    answer: AnswerFormat = None,
    layout: PromptLayout = None,
    reader: Reader = None,
    memory: Memory = None,
    stop_when_answered: Annotated[
        bool, typer.Option("--stop-when-answered", help="Stop reading when the model says that its memory is enough.")
    ] = False,
    run: Annotated[Path | None, typer.Option(help="Keep the journal in this folder, and resume from it.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start again instead of resuming.")] = False,
    max_tokens: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Stop before the run spends more than this many tokens; run again with a higher limit to resume. For "
            "a server without --tokenizer, tokens are estimated.",
        ),
    ] = None,
    max_cost: Annotated[
        float | None, typer.Option(min=0, help="Stop before the run costs more than this; needs --price.")
    ] = None,
    price: Price = None,
    temperature: Annotated[float, typer.Option(min=0, help="Sampling temperature; 0 is greedy.")] = 0.0,
    top_p: Annotated[float | None, typer.Option(min=0, max=1, help="Nucleus sampling.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the sampling.")] = None,
    encoding: Annotated[
        str | None, typer.Option(help="Encoding of plain text that is not UTF-8, such as cp1252.")
    ] = None,
    prompt_lookup: Annotated[
        bool, typer.Option(help="Speed up a local model by guessing tokens from the prompt.")
    ] = True,
    timeout: Annotated[float, typer.Option(min=0.001, help="Seconds to wait for a server.")] = 600,
    retries: Annotated[int, typer.Option(min=0, help="Number of times to retry a failed request to a server.")] = 5,
    concurrency: Annotated[int, typer.Option(min=1, help="Maximum number of simultaneous requests to a server.")] = 16,
    json_output: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Answer questions about documents of any length."""
    from memagent.agent import MemoryAgent
    from memagent.cli.ask_output import as_json, print_answer, watching
    from memagent.cli.connecting import connect_or_fetch
    from memagent.core.limits import Limits
    from memagent.documents import open_documents
    from memagent.models.chat import Sampling

    asked, names = _split(arguments or [], question or [], questions)
    limits = Limits(max_tokens, max_cost, price_of(price))
    chat = connect_or_fetch(
        model,
        quiet=quiet,
        base_url=base_url,
        sampling=Sampling(temperature, top_p, seed),
        tokenizer=tokenizer,
        window=window,
        prompt_lookup=prompt_lookup,
        timeout=timeout,
        retries=retries,
        concurrency=concurrency,
    )
    budget = budget_of(chat, question_tokens, segment_tokens, memory_tokens, answer_tokens)
    agent = MemoryAgent(
        chat, budget=budget, cut=cut, layout=layout, answer=answer, reader=reader_of(reader, memory, stop_when_answered)
    )
    with agent, open_documents(names, encoding=encoding, stdin=sys.stdin.buffer if sys.stdin else None) as document:
        runs = _runs(run, [agent.header(each, document) for each in asked])
        with watching(asked, document, chat.model, quiet or json_output) as watch:
            answers = agent.ask_many(asked, document, runs=runs, limits=limits, watch=watch, fresh=fresh)
    if json_output:
        objects = [as_json(each, limits) for each in answers]
        print(json.dumps(objects[0] if len(objects) == 1 else {"answers": objects}))
    else:
        for each in answers:
            print_answer(each, limits, several=len(answers) > 1)


def _split(arguments: list[str], asked: list[str], file: Path | None) -> tuple[list[str], list[str]]:
    """Split the command's arguments into questions and documents."""
    asked = list(asked)
    if file is not None:
        asked += [line.strip() for line in _lines(file) if line.strip()]
        if not asked:
            raise UsageError(f"There is no question in {file}: write one per line.")
    if not asked:
        if not arguments:
            raise UsageError("There is no question: memagent ask QUESTION DOCUMENT…")
        asked, arguments = arguments[:1], arguments[1:]
    if not arguments:
        raise UsageError("There is no document: name a file, a folder, a URL, or - for standard input.")
    return asked, arguments


def _lines(file: Path) -> list[str]:
    from memagent.documents.encodings import marked_encoding

    try:
        content = file.read_bytes()
        text = content.decode(marked_encoding(content[:4]) or "utf-8")
    except OSError as error:
        raise UsageError(f"The questions in {file} cannot be read: {error}.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"The questions in {file} are not UTF-8 text ({error}): save the file as UTF-8.") from error
    if "\0" in text:
        raise UsageError(f"The questions in {file} contain NUL bytes: save the file as UTF-8.")
    return io.StringIO(text, newline=None).readlines()


def _runs(folder: Path | None, headers: list[dict[str, Any]]) -> list[Path]:
    """The folder of each question's run: the one given, one inside it, or one named after question and settings."""
    from memagent.runs.kept import run_name, runs_folder
    from memagent.runs.run import FILE

    if folder is None:
        runs = [runs_folder() / run_name(header) for header in headers]
    elif len(headers) == 1:
        runs = [folder]
    elif (folder / FILE).exists():
        raise UsageError(f"{folder} holds the run of one question: give several questions another --run.")
    else:
        runs = [folder / run_name({"question": header["question"]}) for header in headers]
    if len(set(runs)) < len(runs):
        raise UsageError("A question is asked twice: ask it once.")
    return runs
