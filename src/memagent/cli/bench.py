"""`memagent bench TASK…`, `memagent bench compare A B`, `memagent bench report DIR`."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

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
    SegmentTokens,
    Window,
    budget_of,
    price_of,
    reader_of,
)
from memagent.core.segments import Cut
from memagent.errors import ModelError, UsageError

if TYPE_CHECKING:
    from memagent.bench.results import Cell, Result


class _RunByDefault(TyperGroup):
    """Reads `bench vt …` as `bench run vt …`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] != "--help":
            args = ["run", *args]
        return super().parse_args(ctx, args)


bench = typer.Typer(
    cls=_RunByDefault,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Measure a model on RULER, RULER-HotpotQA or your own questions, at any length, with 95 % intervals. "
    "`bench run --help` lists the options; `bench TASK…` is short for `bench run TASK…`.",
)
app.add_typer(bench, name="bench")


@bench.command()
def run(
    context: typer.Context,
    tasks: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TASK...",
            help="niah_single_1 to 3, niah_multikey_1 to 3, niah_multivalue, niah_multiquery, vt, cwe, fwe, qa_1, "
            "qa_2, or ruler for all of these; hqa (RULER-HotpotQA); fairytale; squad_absent and squad_unanswerable "
            "(does the model say that there is no answer?); a JSONL file of your own; or FILE.py:NAME.",
            show_default=False,
        ),
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="quick, ruler-paper or hqa-paper: sets the options that you leave out.")
    ] = None,
    lengths: Annotated[
        str, typer.Option(help="Tokens, such as 8k,16k,1m (1k is 1,024), or paragraphs, such as 50p.")
    ] = "",
    samples: Annotated[
        int | None,
        typer.Option(min=1, help="Examples for each task and length. [default: 10, or all in your own file]"),
    ] = None,
    reader: Annotated[
        str,
        typer.Option(
            help="memory (reads as the model was trained), another reader (overwrite, gated, parallel, search, ...), "
            "direct (all in the window), truncate (middle cut), retrieve (BM25); separate several with commas."
        ),
    ] = "memory",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the examples.")] = 42,
    out: Annotated[Path, typer.Option(help="Folder for the results; run again to continue there.")] = Path("bench"),
    prose: Annotated[
        str | None, typer.Option(help="Haystack for the essay tasks: a text file, or a folder of text files.")
    ] = None,
    squad: Annotated[
        str | None, typer.Option(help="For qa_1 and squad_absent: SQuAD as published, or hub:rajpurkar/squad_v2.")
    ] = None,
    hotpotqa: Annotated[
        str | None, typer.Option(help="For qa_2 and hqa: HotpotQA as published, or hub:hotpotqa/hotpot_qa@distractor.")
    ] = None,
    paragraphs: Annotated[str | None, typer.Option(help="Distractors for hqa: a JSONL file of {title, text}.")] = None,
    stories: Annotated[str | None, typer.Option(help="For fairytale: FairytaleQA, one story per line.")] = None,
    unanswerable: Annotated[
        str | None, typer.Option(help="For squad_unanswerable: unanswerable questions on the articles of --squad.")
    ] = None,
    allow_paths: Annotated[
        bool, typer.Option("--allow-paths", help="Allow your own JSONL file to refer to documents outside its folder.")
    ] = False,
    words: Annotated[str | None, typer.Option(help="For long cwe examples: a file with one word per line.")] = None,
    model: Model = "local",
    base_url: BaseUrl = None,
    tokenizer: Annotated[
        Path | None, typer.Option(help="tokenizer.json, or a folder with one; also counts the lengths.")
    ] = None,
    window: Window = None,
    question_tokens: QuestionTokens = None,
    segment_tokens: SegmentTokens = None,
    memory_tokens: MemoryTokens = None,
    answer_tokens: AnswerTokens = None,
    retrieve_tokens: Annotated[int, typer.Option(min=1, help="Tokens of passages for the retrieve reader.")] = 2048,
    cut: Annotated[Cut, typer.Option(help="Where segments end; tokens is the paper's way.")] = "natural",
    layout: PromptLayout = None,
    memory: Memory = None,
    answer: AnswerFormat = None,
    temperature: Annotated[float, typer.Option(min=0, help="0 is greedy decoding.")] = 0.0,
    top_p: Annotated[float | None, typer.Option(min=0, max=1, help="Nucleus sampling.")] = None,
    prompt_lookup: Annotated[bool, typer.Option(help="Local models: guess tokens from the prompt.")] = True,
    timeout: Annotated[float, typer.Option(min=0.001, help="Seconds to wait for a server.")] = 600,
    retries: Annotated[int, typer.Option(min=0, help="Number of times to try a server again.")] = 5,
    concurrency: Annotated[
        int | None, typer.Option(min=1, help="Examples read at once. [default: 16 for a server, 4 for a local model]")
    ] = None,
    price: Price = None,
    json_output: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Run a benchmark, or continue one. The exit status is 4 if examples failed; run again to retry only those."""
    from memagent.agent import MemoryAgent
    from memagent.bench.ledger import read_results, read_settings
    from memagent.bench.plan import Plan
    from memagent.bench.report import write_report
    from memagent.bench.running import run as run_bench
    from memagent.cli.bench_screen import watching
    from memagent.cli.connecting import connect_or_fetch
    from memagent.core.tokenizer import EstimatedTokenizer, load_tokenizer
    from memagent.models.chat import Sampling
    from memagent.models.connect import is_local
    from memagent.tasks.catalog import Data
    from memagent.tasks.example import parse_length

    given, prices = _filled(context, preset), price_of(price)
    data = Data(
        prose=prose, squad=squad, hotpotqa=hotpotqa, paragraphs=paragraphs, words=words, unanswerable=unanswerable,
        stories=stories, anywhere=allow_paths,
    )  # fmt: skip
    plan = Plan(
        tasks=data.tasks(given["tasks"] or []),
        lengths=[parse_length(length) for length in given["lengths"].split(",") if length.strip()],
        samples=given["samples"],
        readers=[each.strip() for each in given["reader"].split(",") if each.strip()],
        seed=seed,
        retrieve_tokens=retrieve_tokens,
        shortened=preset is not None,
    )
    at_once = concurrency or (4 if is_local(model, base_url) else 16)
    chat = connect_or_fetch(
        model,
        quiet=quiet,
        base_url=base_url,
        sampling=Sampling(temperature, top_p, seed if temperature else None),
        tokenizer=tokenizer,
        window=window,
        prompt_lookup=prompt_lookup,
        timeout=timeout,
        retries=retries,
        concurrency=at_once,
    )
    budget = budget_of(chat, question_tokens, given["segment_tokens"], given["memory_tokens"], given["answer_tokens"])
    counter = load_tokenizer(tokenizer) if tokenizer else chat.tokenizer
    if not counter.exact:  # an estimate that does not learn keeps lengths and segments the same in every run
        counter = chat.tokenizer = EstimatedTokenizer(learns=False)
        print("Tokens are estimated at 3 bytes each: give --tokenizer for true lengths.", file=sys.stderr)
    agent = MemoryAgent(
        chat,
        budget=budget,
        cut=given["cut"],
        layout=layout,
        answer=answer,
        reader=reader_of(None, memory),
        citations=False,
    )
    extra = {
        "tokenizer": counter.fingerprint,
        "data": data.fingerprints(plan.tasks),
    }

    async def measure() -> list[Cell]:
        _interrupt_between_callbacks()
        async with agent:
            return await run_bench(plan, agent, counter, out, extra=extra, concurrency=at_once, progress=progress)

    with watching(quiet or json_output) as progress:
        cells = asyncio.run(measure())
    write_report(out, cells, lambda: read_results(out), read_settings(out), prices)
    _print(out, cells, lambda: read_results(out), json_output)
    here = {(sample.task.name, sample.length.unit, sample.length.value) for sample in plan.samples_in_order()}
    mine = [cell for cell in cells if (cell.task, cell.unit, cell.length) in here and cell.reader in plan.readers]
    failed = sum({(cell.task, cell.unit, cell.length, cell.reader): cell.failed for cell in mine}.values())
    if failed:
        raise ModelError(
            f"Failed examples: {failed}. They count as 0 (the causes are in {out / 'report.html'}). Run the same "
            "command to try them again."
        )


@bench.command()
def report(
    benchmarks: Annotated[
        list[str],
        typer.Argument(
            metavar="[NAME=]FOLDER...", help="The --out of one or more benchmarks; NAME renames the benchmark's model."
        ),
    ],
    out: Annotated[Path | None, typer.Option(help="Folder for a report of several benchmarks.")] = None,
    price: Price = None,
    json_output: Json = False,
    debug: Debug = False,
) -> None:
    """Make the table and the report again from the results, even while the benchmark is running. Given several
    benchmarks, make one report, with a line for each model in its charts."""
    from memagent.bench.cells import cells
    from memagent.bench.ledger import RESULTS, read_results, read_settings, write_cells
    from memagent.bench.report import write_report

    given = [_named(each) for each in benchmarks]
    names = {folder: name for name, folder in given if name}
    if out is None and (names or len(given) > 1):
        raise UsageError("A report of several or renamed benchmarks needs a folder of its own: give --out.")
    if out and (out / RESULTS).exists():
        raise UsageError(f"{out} is the folder of a benchmark: give another --out.")
    folders = [folder for _, folder in given]
    settings = {str(folder): read_settings(folder) for folder in folders}

    def results() -> Iterator[Result]:
        return read_results(*folders, names=names)

    found = cells(results())
    place = out or folders[0]
    write_cells(place, found)
    write_report(place, found, results, settings if out else settings[str(place)], price_of(price))
    _print(place, found, results, json_output)


@bench.command()
def compare(
    a: Annotated[Path, typer.Argument(help="The --out of a benchmark.")],
    b: Annotated[Path, typer.Argument(help="The --out of another benchmark.")],
    json_output: Json = False,
    debug: Debug = False,
) -> None:
    """Compare two benchmarks example by example: B minus A."""
    from memagent.bench.compare import compare as compare_results
    from memagent.bench.ledger import read_results
    from memagent.cli.bench_output import render_differences
    from memagent.cli.terminal import Terminal

    differences = compare_results(read_results(a), read_results(b))
    if not differences:
        raise UsageError(
            f"{a} and {b} have no reader and example in common: give runs of the same reader, tasks, lengths, seed, "
            "tokenizer and data."
        )
    if json_output:
        print(json.dumps({"differences": [asdict(each) for each in differences]}))
    else:
        render_differences(differences, Terminal())


def _interrupt_between_callbacks() -> None:
    """Handle Ctrl-C between callbacks.

    asyncio's own handler cancels the main task at once, even while a future is receiving its result.
    """
    ctrl_c = signal.getsignal(signal.SIGINT)
    if callable(ctrl_c):
        with suppress(NotImplementedError):  # Windows
            for number in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(number, ctrl_c, signal.SIGINT, None)


def _named(benchmark: str) -> tuple[str, Path]:
    """Return the name and the folder in NAME=FOLDER; the name is empty if the whole text is a folder."""
    if "=" not in benchmark or Path(benchmark).exists():
        return "", Path(benchmark)
    name, _, folder = benchmark.partition("=")
    return name, Path(folder)


def _filled(context: typer.Context, preset: str | None) -> dict[str, Any]:
    """Return the options, with those not given filled in from the preset."""
    from memagent.bench.plan import PRESETS

    if preset is not None and preset not in PRESETS:
        raise UsageError(f"There is no preset {preset}: give {', '.join(PRESETS)}.")
    given = dict(context.params)
    for name, value in PRESETS.get(preset or "", {}).items():
        source = context.get_parameter_source(name)
        if source is None or source.name.startswith("DEFAULT"):
            given[name] = value
    return given


def _print(folder: Path, cells: Sequence[Cell], results: Callable[[], Iterable[Result]], as_json: bool) -> None:
    from memagent.bench.costs import totals
    from memagent.bench.side_by_side import contests
    from memagent.bench.table import render
    from memagent.cli.bench_output import print_contests
    from memagent.cli.terminal import Terminal, visible

    if as_json:
        compared = [asdict(contest) for contest in contests(results())]
        print(json.dumps({"cells": [asdict(cell) for cell in cells], "readers": compared}))
        return
    render(cells, Terminal(), totals(results()))
    print_contests(contests(results()), Terminal())
    print(visible(f"Results: {folder / 'results.json'}. Report: {folder / 'report.html'}."), file=sys.stderr)
