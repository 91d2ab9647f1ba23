"""Loading a Policy by the name of its model, as in `policy.model`."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from memagent.core.records import Message
from memagent.errors import ModelError, UsageError
from memagent.models.adapters import CONFIG, WEIGHTS, adapter_config
from memagent.models.catalogue import MODELS, model_path
from memagent.models.catalogue.policies import POLICIES
from memagent.models.reader_defaults import load_reader_defaults
from memagent.models.weights import cache_folder
from memagent.rl.config import PolicyConfig
from memagent.train.attention import Block
from memagent.train.policy import Policy

_FAR = 0.1  # relative difference of logits that is more than rounding, even in bfloat16


Loader = Callable[[str, torch.dtype], tuple[Any, Any]]
"""Takes the name of a model and the type of its weights. Returns the model and its tokenizer, as transformers does."""


def make_policy(config: PolicyConfig, seed: int, device: torch.device, load: Loader | None = None) -> Policy:
    """Make the policy that a training run starts with.

    Args:
        load: another way to load the model than from the catalogue, a folder or the hub.

    Raises:
        UsageError, ModelError: there is no such model, or it cannot be loaded.
    """
    if config.model in POLICIES:
        raise UsageError(
            f"policy.model takes a model, and {config.model} is a policy: give smollm2-135m (older versions called it "
            f"local), another of {', '.join(MODELS)}, or the folder of an adapter."
        )
    bfloat16 = config.precision == "bfloat16" or (config.precision == "auto" and device.type != "cpu")
    if config.model == "nano":
        from memagent.train.nano import nano_policy

        policy = nano_policy(seed, autocast=bfloat16)
        policy.model.to(device)
        return policy
    load = load or _load
    model, tokenizer = load(config.model, torch.bfloat16 if bfloat16 and config.lora_rank else torch.float32)
    if config.lora_rank and not hasattr(model, "peft_config"):  # an existing adapter is trained further
        torch.manual_seed(seed)
        model = _with_lora(model, config.lora_rank, config.model)
    if config.gradient_checkpointing:
        model.activation_checkpointing_enable()
        model.enable_input_require_grads()
    return _checked(
        Policy(model.to(device), tokenizer, load_reader_defaults(Path(config.model)), autocast=bfloat16), config.model
    )


def load_policy(folder: Path, device: torch.device | str = "cpu") -> Policy:
    """Load the policy of a checkpoint to use it, not to train it.

    Raises:
        UsageError: there is no policy in the folder.
        ModelError: the policy is damaged.
    """
    if not any(folder.glob("*.safetensors")):
        raise UsageError(f"There is no policy in {folder}: give a checkpoint of a training run, or its --out.")
    model, tokenizer = _load(str(folder), torch.float32)
    return _checked(Policy(model.to(device).eval(), tokenizer, load_reader_defaults(folder)), str(folder))


def _load(name: str, dtype: torch.dtype) -> tuple[Any, Any]:
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    adapter = Path(name) if (Path(name) / CONFIG).is_file() else None
    base = _base(adapter) if adapter else name
    source = str(dequantised(model_path(base))) if base in MODELS else base
    if not Path(source).is_dir() and (source.startswith((".", "~", "/")) or source.count("/") > 1):
        raise UsageError(f"There is no folder {source}: give a folder of a model or checkpoint, or a name on the hub.")
    # A folder from a stranger must not download or run anything: no code and no pickles are loaded, and the base that
    # an adapter names must already be on this machine.
    safe = {"trust_remote_code": False, "local_files_only": adapter is not None}
    try:
        if adapter and not (adapter / WEIGHTS).is_file():
            raise OSError(f"it has no {WEIGHTS}")
        if adapter and not Path(source).is_dir():
            source = _fetched(source)
        model = AutoModelForCausalLM.from_pretrained(source, dtype=dtype, use_safetensors=True, **safe)
        if adapter:
            from peft import PeftModel

            with _without_peft_warning():
                model = PeftModel.from_pretrained(model, str(adapter), is_trainable=True)
        own = adapter is not None and (adapter / "tokenizer_config.json").is_file()
        tokenizer = AutoTokenizer.from_pretrained(adapter if own else source, **safe)
    except (OSError, ValueError, SafetensorError) as error:
        of = f", or its base {base}," if adapter else ""
        raise ModelError(f"The model {name}{of} cannot be loaded: {str(error).splitlines()[0]}") from error
    return model, tokenizer


def _fetched(name: str) -> str:
    """The folder of a Hugging Face model that was downloaded before. Raises OSError if it was not."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return str(snapshot_download(name, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError) as error:
        raise OSError(f"{name} is not on this machine: download it with `hf download {name}`") from error


def _base(adapter: Path) -> str:
    return adapter_config(adapter).base_model_name_or_path


def _checked(policy: Policy, name: str) -> Policy:
    """Return the policy, unless the sampler or the trainer would compute its model wrongly.

    Raises:
        ModelError: the model uses sliding-window attention, post-processes its logits, or has no chat template.
    """
    config = policy.model.config
    kinds = set(getattr(config, "layer_types", None) or ())
    if kinds - {"full_attention"} or (not kinds and getattr(config, "sliding_window", None)):
        raise ModelError(f"{name} uses sliding-window attention: give a model with full attention.")
    if not policy.transformers_tokenizer.chat_template:
        raise ModelError(f"The tokenizer of {name} has no chat template: give an instruct model.")
    ids = torch.tensor([policy.render((Message("user", "Who?"),))], device=policy.device)
    policy.perform()
    with torch.inference_mode(), policy.precision():
        meant = policy.model(input_ids=ids).logits[0, -1].float()
        positions = torch.arange(ids.shape[1], device=policy.device)
        sampler = policy.logits(policy.hidden(ids, torch.ones_like(ids), positions[None])[0, -1])
        trainer = policy.logits(policy.packed(ids[0], positions, [Block(1, ids.shape[1])])[-1])
    if max((meant - ours).norm() for ours in (sampler, trainer)) > _FAR * meant.norm():
        raise ModelError(f"{name} post-processes its logits, which the trainer does not support: give another model.")
    return policy


def dequantised(path: Path) -> Path:
    """Convert a GGUF file to a Hugging Face folder in the cache, once (half a minute for 135 million weights)."""
    folder = cache_folder() / f"{path.stem}-{path.stat().st_size}"
    if not (folder / "config.json").is_file():
        from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

        where = {"pretrained_model_name_or_path": path.parent, "gguf_file": path.name}
        model = AutoModelForCausalLM.from_pretrained(
            **where, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
        )
        tokenizer = AutoTokenizer.from_pretrained(**where)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder.parent, prefix=".") as temporary:  # each process has its own
            made = Path(temporary) / folder.name
            model.save_pretrained(made)
            tokenizer.save_pretrained(made)
            if not folder.exists():
                made.rename(folder)
    return folder


@contextmanager
def _without_peft_warning() -> Iterator[None]:
    """Hide a warning about peft's own code: it reads a property of transformers by its deprecated name."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".is_gradient_checkpointing. is deprecated", FutureWarning)
        yield


def _with_lora(model: Any, rank: int, base: str) -> Any:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    with _without_peft_warning():
        adapted = get_peft_model(model, config)
    config.base_model_name_or_path = base
    return adapted
