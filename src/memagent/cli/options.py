"""Options that several commands share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from memagent.core.prompts import AnswerStyle, Layout

if TYPE_CHECKING:
    from memagent.core.budget import Budget
    from memagent.core.limits import Price as Prices
    from memagent.models.chat import Chat


def _set_debug(value: bool) -> None:
    if value:
        os.environ["MEMAGENT_DEBUG"] = "1"


def debugging() -> bool:
    return bool(os.environ.get("MEMAGENT_DEBUG"))


Debug = Annotated[bool, typer.Option("--debug", callback=_set_debug, is_eager=True, help="Show a traceback on errors.")]
Json = Annotated[bool, typer.Option("--json", help="Print exactly one JSON object.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress.")]
Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        envvar="MEMAGENT_MODEL",
        help="local, tiny (smaller and faster), local:PATH (GGUF, OpenVINO folder, LoRA adapter), a name from "
        "`memagent models`, checkpoint:DIR (a training run), scripted:FILE, or a name the server knows.",
    ),
]
BaseUrl = Annotated[
    str | None, typer.Option(help="An OpenAI-compatible server (or OPENAI_BASE_URL); key from OPENAI_API_KEY.")
]
TokenizerFile = Annotated[
    Path | None, typer.Option(help="The tokenizer.json of the server's model, or a folder with it.")
]
Window = Annotated[
    int | None, typer.Option(min=1, help="Context window in tokens; overrides what the model or its server reports.")
]

# Budget and prompts. The defaults are the model's own.
QuestionTokens = Annotated[int | None, typer.Option(min=1, help="Maximum tokens in a question. [default: 1024]")]
SegmentTokens = Annotated[
    int | None,
    typer.Option(min=1, help="Maximum tokens read at a time. [default: as the model was trained, else 5000]"),
]
MemoryTokens = Annotated[
    int | None,
    typer.Option(min=1, help="Maximum tokens in the memory. [default: as the model was trained, else 1024]"),
]
AnswerTokens = Annotated[
    int | None,
    typer.Option(min=1, help="Maximum tokens in the answer. [default: as the model was trained, else 1024]"),
]
PromptLayout = Annotated[
    Layout | None,
    typer.Option(
        help="Order of the prompt. With section-first, questions on one document share computation. [default: as the "
        "model was trained, else paper]"
    ),
]
Reader = Annotated[
    str | None,
    typer.Option(
        help="How to read: overwrite (as in the paper), gated, extract, collect, parallel, search, reread. "
        "docs/reading.md says when to use each. [default: the model's own, else overwrite]"
    ),
]
Memory = Annotated[str | None, typer.Option(hidden=True, help="Old name of --reader.")]
AnswerFormat = Annotated[
    AnswerStyle | None, typer.Option(help="Format in which the model is asked to answer. [default: boxed]")
]

Price = Annotated[str | None, typer.Option(help="PROMPT/COMPLETION per million tokens, such as 0.15/0.60.")]


def price_of(text: str | None) -> Prices | None:
    """The prices that --price gives; None without it."""
    from memagent.core.limits import Price
    from memagent.errors import UsageError

    if text is None:
        return None
    prompt, _, completion = text.partition("/")
    try:
        return Price(float(prompt), float(completion or prompt))
    except (ValueError, UsageError):
        raise UsageError(f"--price is PROMPT/COMPLETION per million tokens, such as 0.15/0.60, not {text}.") from None


def budget_of(chat: Chat, question: int | None, segment: int | None, memory: int | None, answer: int | None) -> Budget:
    """The budget from the options that were given, and from the model's own budget for the rest."""
    from memagent.core.budget import Budget

    used = chat.defaults.budget
    return Budget(question or used.question, segment or used.segment, memory or used.memory, answer or used.answer)


def reader_of(reader: str | None, memory: str | None, stop: bool = False) -> str | None:
    """The reader's name, from --reader (or its old name --memory) and --stop-when-answered."""
    from memagent.errors import UsageError
    from memagent.models.reader_defaults import READERS_BEFORE
    from memagent.readers import stopping

    if memory is not None and reader is None:
        if memory not in READERS_BEFORE:
            raise UsageError(f"There is no memory {memory}: give --reader overwrite, extract or collect.")
        reader = READERS_BEFORE[memory]
    if stop:
        return stopping(reader or "")
    return reader
