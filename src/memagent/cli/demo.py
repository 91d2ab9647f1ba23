"""`memagent demo`: the main job on a document that the program makes up."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from memagent.cli import app
from memagent.cli.options import BaseUrl, Debug, Json, Model, Quiet
from memagent.errors import UsageError

_CHARACTERS_A_TOKEN = 4.4  # of the demo's prose, with the default model's tokenizer


@app.command()
def demo(
    length: Annotated[
        str, typer.Option(help="Length of the document in tokens, such as 16k or 1m (1k is 1,024).")
    ] = "16k",
    seed: Annotated[int, typer.Option(help="Seed of the document.")] = 0,
    model: Model = "local",
    base_url: BaseUrl = None,
    keep: Annotated[Path | None, typer.Option(help="Also write the document to this file.")] = None,
    json_output: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Hide facts in a long document, read it, and check the answer. Exit status 1 means a wrong answer."""
    from memagent.agent import MemoryAgent
    from memagent.cli.ask_output import as_json, print_answer, watching
    from memagent.core.limits import Limits
    from memagent.documents import text_document
    from memagent.models.connect import connect
    from memagent.tasks.lighthouses import is_right, make_demo

    example = make_demo(round(_tokens(length) * _CHARACTERS_A_TOKEN), seed)
    if keep is not None:
        try:
            keep.write_text(example.document, encoding="utf-8")
        except OSError as error:
            raise UsageError(f"{keep} cannot be written: {error.strerror or error}.") from error
    with (
        MemoryAgent(connect(model, base_url=base_url)) as agent,
        text_document(example.document, "demo") as document,
        watching([example.question], document, agent.chat.model, quiet or json_output) as watch,
    ):
        answer = agent.ask(example.question, document, watch=watch)
    right = is_right(example, answer.text)
    if json_output:
        print(json.dumps(as_json(answer, Limits()) | {"expected": example.answer, "right": right}))
    else:
        print(f"Question: {example.question}")
        print_answer(answer, Limits(), several=False)
        print(f"{'Right' if right else 'Wrong'}: the document says {example.answer}.")
    if not right:
        sys.exit(1)


def _tokens(length: str) -> int:
    from memagent.tasks.example import parse_length

    found = parse_length(length)
    if found.unit != "tokens" or found.value < 200:
        raise UsageError(f"--length must be at least 200 tokens, such as 16k or 1m, not {length}.")
    return found.value
