"""From the name of a model, as in `policy.model`, to the Policy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from memagent.chat.weights import cache_folder, find_weights
from memagent.errors import ModelError, UsageError
from memagent.habits import load_habits
from memagent.train.config import PolicyConfig
from memagent.train.policy import Policy

_LORA = "adapter_config.json"


def make_policy(config: PolicyConfig, seed: int, device: torch.device) -> Policy:
    """The policy that a training begins with.

    Raises:
        UsageError, ModelError: there is no such model, or it cannot be loaded.
    """
    bfloat16 = config.precision == "bfloat16" or (config.precision == "auto" and device.type != "cpu")
    if config.model == "nano":
        from memagent.train.nano import nano_policy

        policy = nano_policy(seed, autocast=bfloat16)
        policy.model.to(device)
        return policy
    model, tokenizer = _load(config.model, torch.bfloat16 if bfloat16 and config.lora_rank else torch.float32)
    if config.lora_rank:
        torch.manual_seed(seed)
        model = _with_lora(model, config.lora_rank)
    if config.gradient_checkpointing:
        model.activation_checkpointing_enable()
        model.enable_input_require_grads()
    habits = load_habits(Path(config.model))
    return Policy(model.to(device), tokenizer, habits, autocast=bfloat16)


def load_policy(folder: Path, device: torch.device | str = "cpu") -> Policy:
    """The policy in a checkpoint, to be used.

    Raises:
        UsageError: there is none.
        ModelError: it is damaged.
    """
    if not (folder / "config.json").is_file() and not (folder / _LORA).is_file():
        raise UsageError(f"There is no policy in {folder}: give a checkpoint of a training, or its --out.")
    model, tokenizer = _load(str(folder), torch.float32)
    return Policy(model.to(device).eval(), tokenizer, load_habits(folder))


def _load(name: str, dtype: torch.dtype) -> tuple[Any, Any]:
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    folder = Path(name)
    if name == "local":
        folder = dequantised()
    try:
        if (folder / _LORA).is_file():
            from peft import AutoPeftModelForCausalLM

            model = AutoPeftModelForCausalLM.from_pretrained(folder, dtype=dtype)
        else:
            model = AutoModelForCausalLM.from_pretrained(folder if folder.is_dir() else name, dtype=dtype)
        tokenizer = AutoTokenizer.from_pretrained(folder if folder.is_dir() else name)
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelError(f"The model {name} cannot be loaded: {str(error).splitlines()[0]}") from error
    return model, tokenizer


def dequantised() -> Path:
    """The default model as a Hugging Face folder, made once from its GGUF (a minute) and kept in the user's cache."""
    weights = find_weights(None)
    stat = weights.path.stat()
    folder = cache_folder() / f"{weights.path.stem}-{stat.st_size}"
    if not (folder / "config.json").is_file():
        from transformers import AutoModelForCausalLM, AutoTokenizer

        where = {"pretrained_model_name_or_path": weights.path.parent, "gguf_file": weights.path.name}
        model = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(**where)
        temporary = folder.with_name(f".{folder.name}")
        temporary.mkdir(parents=True, exist_ok=True)
        model.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
        temporary.rename(folder)
    return folder


def _with_lora(model: Any, rank: int) -> Any:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    return get_peft_model(model, config)
