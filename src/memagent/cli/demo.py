"""`memagent demo`: questions about a story in the package, and one about a generated document."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from memagent.cli import app
from memagent.cli.options import BaseUrl, Debug, Json, Model, Quiet
from memagent.errors import UsageError

if TYPE_CHECKING:
    from memagent.agent import MemoryAgent
    from memagent.evidence.answer import Answer

_CHARACTERS_A_TOKEN = 4.4  # of the generated prose, with SmolLM2's tokenizer


@app.command()
def demo(
    story: Annotated[
        bool, typer.Option(help="Ask about chapters I to V of Alice's Adventures in Wonderland first.")
    ] = True,
    length: Annotated[
        str, typer.Option(help="Length of the generated document in tokens (about), such as 16k or 1m (1k is 1,024).")
    ] = "16k",
    seed: Annotated[int, typer.Option(help="Seed of the generated document.")] = 0,
    model: Model = "local",
    base_url: BaseUrl = None,
    keep: Annotated[Path | None, typer.Option(help="Also write the generated document to this file.")] = None,
    json_output: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Ask about a story and a long generated document, and check the answers. Exit status 1 means a wrong answer."""
    from memagent.agent import MemoryAgent
    from memagent.cli.ask_output import as_json, print_answer
    from memagent.cli.connecting import connect_or_fetch
    from memagent.core.limits import Limits
    from memagent.tasks import lighthouses, wonderland

    silent = quiet or json_output
    generated = lighthouses.make_demo(round(_tokens(length) * _CHARACTERS_A_TOKEN), seed)
    if keep is not None:
        try:
            keep.write_text(generated.document, encoding="utf-8")
        except OSError as error:
            raise UsageError(f"{keep} cannot be written: {error.strerror or error}.") from error
    texts: list[tuple[str, str, Mapping[str, str | None], Callable[[Any, str], bool]]] = []
    if story:
        texts.append(("Alice in Wonderland", wonderland.text(), wonderland.QUESTIONS, wonderland.is_right))
    hidden = {generated.question: generated.answer}
    texts.append(("generated text", generated.document, hidden, lighthouses.is_right))
    results = []
    with MemoryAgent(connect_or_fetch(model, base_url=base_url, quiet=quiet)) as agent:
        for name, text, questions, is_right in texts:
            for answer in _ask(agent, name, text, list(questions), silent):
                expected = questions[answer.question]
                right = is_right(expected, answer.text)
                results.append(as_json(answer, Limits()) | {"expected": expected, "right": right})
                if not json_output:
                    print(f"Question: {answer.question}")
                    print_answer(answer, Limits(), several=False)
                    print(f"{'Right' if right else 'Wrong'}: {_said(expected)}.\n")
    right = all(result["right"] for result in results)
    if json_output:
        print(json.dumps({"answers": results, "right": right}))
    if not right:
        sys.exit(1)


def _ask(agent: MemoryAgent, name: str, text: str, questions: list[str], silent: bool) -> list[Answer]:
    from memagent.cli.ask_output import watching
    from memagent.documents import text_document

    with text_document(text, name) as document, watching(questions, document, agent.chat.model, silent) as watch:
        return agent.ask_many(questions, document, watch=watch)


def _said(expected: str | None) -> str:
    return f"the text says {expected}" if expected else "the text does not say"


def _tokens(length: str) -> int:
    from memagent.tasks.example import parse_length

    found = parse_length(length)
    if found.unit != "tokens" or found.value < 200:
        raise UsageError(f"--length must be at least 200 tokens, such as 16k or 1m, not {length}.")
    return found.value
