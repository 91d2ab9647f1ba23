"""On the machine that trains: put the kit together, and make a Hugging Face folder of the GGUF weights.

    python training/kit/unpack.py ARRIVED PLACE

ARRIVED holds the parts, PLACE gets data/, model/ and wheels/. Nothing is fetched.
"""

from __future__ import annotations

import re
import sys
import tarfile
from pathlib import Path

from parts import join

_NAMES = {
    "token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head",
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}  # fmt: skip
"""From a GGUF's names to Hugging Face's, of Qwen2."""


def unpack(arrived: Path, place: Path) -> None:
    place.mkdir(parents=True, exist_ok=True)
    if not (place / "model" / "config.json").is_file():
        with tarfile.open(join(arrived, place / "small.tar.gz")) as archive:
            archive.extractall(place, filter="data")


def weights(arrived: Path, place: Path) -> None:
    """The weights in bfloat16. In a process of its own: it needs gguf, which is among the wheels."""
    import torch
    from gguf import GGUFReader, dequantize
    from safetensors.torch import save_file

    out = place / "model" / "model.safetensors"
    if out.is_file():
        return
    tensors = {}
    for tensor in GGUFReader(join(arrived, place / "weights.gguf")).tensors:
        values = torch.from_numpy(dequantize(tensor.data, tensor.tensor_type).copy())
        tensors[_renamed(tensor.name)] = values.to(torch.bfloat16).contiguous()
    save_file(tensors, out, metadata={"format": "pt"})


def _renamed(name: str) -> str:
    layer = re.match(r"blk\.(\d+)\.(\w+)\.(\w+)", name)
    if layer:
        return f"model.layers.{layer[1]}.{_NAMES[layer[2]]}.{layer[3]}"
    stem, _, kind = name.rpartition(".")
    return f"{_NAMES[stem]}.{kind}"


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    (weights if sys.argv[3:] == ["weights"] else unpack)(Path(sys.argv[1]), Path(sys.argv[2]))
