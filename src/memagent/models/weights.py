"""Find a model on disk and its tokenizer: a name in the catalogue, a GGUF file, an OpenVINO folder or an adapter.

The default model is SmolLM2-135M-Instruct with memagent's default policy merged in, and `base` is the same model
untrained. A folder with a LoRA adapter means its base model with the adapter merged in. The engine cannot read
an adapter or every kind of GGUF file, so `engine_files.py` makes a file that it can read, once.

A GGUF file holds its tokenizer as lists of tokens and merges. Reading these takes seconds, so the tokenizer that is
built from them is kept in the user's cache.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from memagent.core.tokenizer import FileTokenizer, load_tokenizer
from memagent.errors import ModelError, UsageError
from memagent.models.adapters import WEIGHTS, adapter_config
from memagent.models.catalogue import MODELS, model_path
from memagent.models.catalogue.policies import DEFAULT_POLICY, policy_folder

DEFAULT = DEFAULT_POLICY.base
"""The base of the default model, in the catalogue."""
BASE = "base"
"""The name of the default model without its policy."""

_SPECIAL = 3  # the token type "control" in GGUF's tokenizer.ggml.token_type
# How the byte-level tokenizers named by tokenizer.ggml.pre split words: at each digit, or by a pattern of their own.
# Sources: the published tokenizer.json of each model family.
_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
_PATTERNS = {"llama-bpe": _LLAMA3, "llama3": _LLAMA3, "qwen2": _LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")}


@dataclass(frozen=True, slots=True)
class Weights:
    """A model on disk. `tokenizer` is None if memagent cannot read the one in the file."""

    name: str
    path: Path
    window: int | None
    tokenizer: FileTokenizer | None
    prepared: bool = False
    """Whether the engine needs a file that is made from `path` and the adapter."""
    adapter: Path | None = None
    sha256: str | None = None
    """Hash of `path`, if it is known without reading the file."""
    architecture: str = ""
    """Architecture by its GGUF name."""

    @property
    def folder(self) -> Path:
        """Folder of `memagent.json`, if there is one."""
        return self.adapter or (self.path if self.path.is_dir() else self.path.parent)

    def without_tokenizer(self) -> Weights:
        """The same weights in a form that can be sent to another process."""
        return replace(self, tokenizer=None)

    def engine_file(self) -> Path:
        """Return the file or folder that the engine reads, and make it if necessary.

        Raises:
            ModelError: The adapter does not fit.
            StorageError: The cache folder cannot be written.
        """
        if not self.prepared:
            return self.path
        from memagent.models.engine_files import engine_file

        return engine_file(self.name, self.architecture, self.path, self.adapter, cache_folder(), self.sha256)


def find_weights(path: str | Path | None = None) -> Weights:
    """Find the model at `path` or with that name. None is the default model, `base` the default model untrained.

    Raises:
        ModelError: The model is in the catalogue, but not on this machine.
        UsageError: There is no GGUF file, OpenVINO folder or adapter at `path`.
    """
    if path is None or str(path) == DEFAULT_POLICY.name:
        return replace(_catalogued(DEFAULT), name=DEFAULT_POLICY.name, adapter=policy_folder(DEFAULT_POLICY))
    if str(path) == BASE:
        return replace(_catalogued(DEFAULT), name="smollm2-135m-instruct")
    if str(path) in MODELS:
        return _catalogued(str(path))
    path = Path(path).expanduser()
    if (path / WEIGHTS).is_file():
        run = path.resolve().parent.parent.name + "-" if path.resolve().parent.name == "checkpoints" else ""
        return replace(_catalogued(_base_of(path)), name=f"{run}{path.resolve().name}", adapter=path)
    if path.is_dir():
        if not any(path.glob("openvino*_model.xml")):
            raise UsageError(
                f"The folder {path} holds no openvino_model.xml and no {WEIGHTS}: give an OpenVINO folder, a LoRA "
                "adapter of a model of the catalogue, or a .gguf file."
            )
        tokenizer = load_tokenizer(path) if (path / "tokenizer.json").is_file() else None
        return Weights(path.name, path, _folder_window(path), tokenizer)
    if not path.is_file():
        raise UsageError(f"There is no model at {path}: give a .gguf file or an OpenVINO folder.")
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise UsageError(f"{path} is not a GGUF file: give a .gguf file or an OpenVINO folder.")
    return _gguf(path)


def _catalogued(name: str) -> Weights:
    model = MODELS[name]
    return replace(_gguf(model_path(name)), name=name, prepared=True, sha256=model.sha256)


def _base_of(adapter: Path) -> str:
    """Return the catalogue's name of the model that an adapter belongs to."""
    base = adapter_config(adapter).base_model_name_or_path
    base = {"local": DEFAULT}.get(base, base)
    if base not in MODELS:
        raise UsageError(f"The adapter in {adapter} belongs to {base}, which is not one of {', '.join(MODELS)}.")
    return base


def _folder_window(folder: Path) -> int | None:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    window = config.get("max_position_embeddings")
    return window if isinstance(window, int) else None


def _gguf(path: Path) -> Weights:
    stat = path.stat()
    key = hashlib.sha256(f"{path.resolve()}:{stat.st_size}:{stat.st_mtime_ns}".encode()).hexdigest()[:16]
    cached = cache_folder() / f"gguf-{key}.json"
    try:
        facts = json.loads(cached.read_text(encoding="utf-8"))
        _ = facts["architecture"]  # older versions did not write it
    except (OSError, ValueError, KeyError, TypeError):
        facts = _read_gguf(path)
        _keep(cached, json.dumps(facts))
    tokenizer = None
    if facts["tokenizer"]:
        from tokenizers import Tokenizer

        tokenizer = FileTokenizer(Tokenizer.from_str(facts["tokenizer"]))
    return Weights(path.name, path, facts["window"], tokenizer, architecture=facts["architecture"])


def cache_folder() -> Path:
    """Return the folder for files that memagent can make again."""
    from platformdirs import user_cache_path

    return user_cache_path("memagent")


def _keep(path: Path, text: str) -> None:
    """Write a cache file. If that fails, memagent is slower and still works."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)


def _read_gguf(path: Path) -> dict[str, Any]:
    from gguf import GGUFReader

    try:
        fields = GGUFReader(path).fields
    except (ValueError, IndexError, KeyError) as error:
        raise ModelError(f"{path} is a damaged GGUF file ({error}): fetch it again.") from error

    def get(key: str) -> Any:
        return fields[key].contents() if key in fields else None

    kind = get("general.architecture")
    window = get(f"{kind}.context_length")
    return {
        "architecture": str(kind),
        "window": int(window) if window else None,
        "tokenizer": _build_tokenizer(get),
    }


def _build_tokenizer(get: Any) -> str | None:
    """Return the `tokenizer.json` of a byte-level BPE; None for kinds that memagent does not know."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

    pre = get("tokenizer.ggml.pre")
    tokens, merges = get("tokenizer.ggml.tokens"), get("tokenizer.ggml.merges")
    if get("tokenizer.ggml.model") != "gpt2" or not tokens or not merges:
        return None
    if pre == "smollm":
        split: Any = pre_tokenizers.Digits(individual_digits=True)
    elif pre in _PATTERNS:
        split = pre_tokenizers.Split(Regex(_PATTERNS[pre]), behavior="isolated")
    else:
        return None
    tokenizer = Tokenizer(
        models.BPE(
            vocab={token: index for index, token in enumerate(tokens)},
            merges=[tuple(merge.split(" ")) for merge in merges],
            ignore_merges=pre in ("llama-bpe", "llama3"),
        )
    )
    whole_words = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pre == "smollm")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, whole_words])
    tokenizer.decoder = decoders.ByteLevel()
    kinds = get("tokenizer.ggml.token_type") or []
    tokenizer.add_special_tokens(
        [AddedToken(token, normalized=False) for token, kind in zip(tokens, kinds, strict=False) if kind == _SPECIAL]
    )
    return str(tokenizer.to_str())
