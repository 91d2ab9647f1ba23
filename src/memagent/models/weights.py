"""Find a model and its tokenizer on disk, by a name in the catalogue or the path of a GGUF file, folder or adapter.

A folder with a LoRA adapter stands for its base model with the adapter merged in, and so does the name of a policy. The
engine cannot read adapters, nor every kind of GGUF file, so `engine_files.py` makes a file that it can read.

A GGUF file contains its tokenizer as lists of tokens and merges, which take seconds to read. So the tokenizer that is
built from them is kept in the user's cache.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from memagent.core.tokenizer import FileTokenizer, load_tokenizer
from memagent.disk import write_whole
from memagent.errors import ModelError, UsageError
from memagent.models.adapters import WEIGHTS, adapter_config
from memagent.models.catalogue import MODELS, model_path
from memagent.models.catalogue.policies import POLICIES, policy_folder

_SPECIAL = 3  # the token type "control" in GGUF's tokenizer.ggml.token_type
# The patterns by which byte-level tokenizers split words, by their names in tokenizer.ggml.pre.
# Source: the published tokenizer.json of each model family.
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
    """Whether the engine reads a file made from `path` and the adapter instead of `path` itself."""
    adapter: Path | None = None
    sha256: str | None = None
    """Hash of `path`, if known without reading the file."""
    architecture: str = ""
    """Architecture, as GGUF files name it."""

    @property
    def folder(self) -> Path:
        """Folder of the model's `memagent.json`, if it has one."""
        return self.adapter or (self.path if self.path.is_dir() else self.path.parent)

    def without_tokenizer(self) -> Weights:
        """Return the same weights without their tokenizer, which cannot be sent to another process."""
        return replace(self, tokenizer=None)

    def engine_file(self) -> Path:
        """Return the file or folder that the engine reads. Make it first if necessary.

        Raises:
            ModelError: the adapter does not fit.
            StorageError: the cache folder cannot be written.
        """
        if not self.prepared:
            return self.path
        from memagent.models.engine_files import engine_file

        return engine_file(self.name, self.architecture, self.path, self.adapter, cache_folder(), self.sha256)


def find_weights(path: str | Path = "local") -> Weights:
    """Find a model by its path, or, if `path` is a string, by its name in the catalogue or a policy's name.

    Raises:
        ModelError: the model is in the catalogue, but not on this machine.
        UsageError: there is no GGUF file, OpenVINO folder or adapter at `path`.
    """
    if isinstance(path, str) and path in POLICIES:
        policy = POLICIES[path]
        folder = policy_folder(policy)
        return replace(_catalogued(policy.base), name=policy.name, adapter=folder)
    if isinstance(path, str) and path in MODELS:
        return _catalogued(path)
    path = Path(path).expanduser()
    if (path / WEIGHTS).is_file():
        run = path.resolve().parent.parent.name + "-" if path.resolve().parent.name == "checkpoints" else ""
        return replace(_catalogued(_base_of(path)), name=f"{run}{path.resolve().name}", adapter=path)
    if path.is_dir():
        if not any(path.glob("openvino*_model.xml")):
            raise UsageError(
                f"The folder {path} has no openvino_model.xml and no {WEIGHTS}: give an OpenVINO folder, a LoRA "
                "adapter of a catalogue model, or a .gguf file."
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
    """Return the catalogue name of an adapter's base model."""
    base = adapter_config(adapter).base_model_name_or_path
    if base not in MODELS:
        raise UsageError(
            f"The adapter in {adapter} belongs to {base}, which is not in the catalogue: give an adapter of one of "
            f"{', '.join(MODELS)}."
        )
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
    """Write a cache file. A failure is ignored, because it only costs time."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text)


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
    """Return the text of a `tokenizer.json` for a byte-level BPE; None for other kinds of tokenizer."""
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
