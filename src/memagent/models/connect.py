"""Turn the name of a model, as given to `--model`, into a Chat."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from memagent.errors import UsageError
from memagent.models.catalogue import MODELS
from memagent.models.catalogue.policies import POLICIES
from memagent.models.chat import Chat, Sampling


def connect(
    model: str = "local",
    *,
    base_url: str | None = None,
    sampling: Sampling | None = None,
    tokenizer: str | Path | None = None,
    window: int | None = None,
    prompt_lookup: bool = True,
    timeout: float = 600,
    retries: int = 5,
    concurrency: int = 16,
) -> Chat:
    """Return the Chat for `model`.

    Args:
        model: one of
            `local`, the default model on this machine, or `tiny`, a smaller and faster one;
            `local:PATH`, a GGUF file, an OpenVINO folder, or a LoRA adapter such as a training checkpoint;
            `checkpoint:DIR`, a training run or one of its checkpoints, run with PyTorch;
            `scripted:FILE`, see `memagent.models.scripted`;
            a name in the catalogue (`memagent models`), or, with `base_url`, a name that the server knows.
        base_url: the address of an OpenAI-compatible server, ending in /v1; None for OpenAI's own. The key comes from
            the environment variable OPENAI_API_KEY.
        tokenizer: a tokenizer.json, or a folder with one, for a model on a server. Without it, tokens are estimated.
        window: tokens that prompt and completion may have together, if the model does not say.
        prompt_lookup: for local models only, see `memagent.models.engine`.
        timeout: seconds to wait for a server.
        retries: number of tries after the first.
        concurrency: number of requests in flight at once.

    Raises:
        UsageError: the name is invalid, or a file is missing.
        ModelError: a local model is not on this machine.
    """
    rest = model.partition(":")[2]
    if model == "local" and base_url is not None:
        raise UsageError("A server was given without a model: give --model a name that the server knows.")
    if model.startswith("scripted:"):
        from memagent.models.scripted import load_script

        return load_script(rest, window)
    if model.startswith("checkpoint:"):
        return _checkpoint(rest, sampling, window)
    if is_local(model, base_url):
        from memagent.models.local import LocalChat

        if model.endswith(":"):
            raise UsageError("There is no path after `local:`: give a GGUF file or an OpenVINO folder.")
        return LocalChat(Path(rest) if rest else model, sampling=sampling, prompt_lookup=prompt_lookup, window=window)
    if not model:
        raise UsageError("The name of the model is empty: give --model a name.")
    from memagent.core.tokenizer import load_tokenizer
    from memagent.models.http import HttpChat

    return HttpChat(
        model,
        base_url=base_url,
        sampling=sampling or Sampling(),
        tokenizer=load_tokenizer(tokenizer) if tokenizer else None,
        window=window,
        timeout=timeout,
        retries=retries,
        concurrency=concurrency,
    )


def is_local(model: str, base_url: str | None) -> bool:
    """Whether the embedded engine runs the model of this name."""
    return base_url is None and (model.startswith("local:") or model in POLICIES or model in MODELS)


def _checkpoint(folder: str, sampling: Sampling | None, window: int | None) -> Chat:
    """Return the Chat for a training checkpoint. It is imported by name so that only its users need PyTorch."""
    try:
        trained = import_module("memagent.train.checkpoint_chat")
    except ImportError as error:
        if (error.name or "").startswith("memagent"):
            raise
        raise UsageError(f"A checkpoint needs {error.name}: pip install 'memagent[train]'.") from error
    chat: Chat = trained.CheckpointChat(Path(folder), sampling=sampling, window=window)
    return chat
