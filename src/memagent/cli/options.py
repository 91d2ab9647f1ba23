"""Options that several commands share."""

from __future__ import annotations

import os
from typing import Annotated

import typer


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
        "--model", help="local, local:PATH (GGUF or OpenVINO folder), scripted:FILE, or a name the server knows."
    ),
]
