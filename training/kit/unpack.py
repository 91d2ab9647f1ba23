"""On the machine that trains: unpack the first folder of the kit, or one folder's weights.

    python training/kit/unpack.py small ARRIVED PLACE       # PLACE gets data/, model/ and wheels/
    python training/kit/unpack.py weights ARRIVED PLACE N   # PLACE/weights gets the weights of folder N, in bfloat16

ARRIVED holds the files of all the kit's folders together. Nothing is downloaded. Install the wheels before you unpack
the weights.
"""

from __future__ import annotations

import lzma
import re
import shutil
import sys
import tarfile
import warnings
from pathlib import Path

_NAMES = {
    "token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head",
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}  # fmt: skip
"""Names of Qwen2's weights, from GGUF to Hugging Face."""


def small(arrived: Path, place: Path) -> None:
    with tarfile.open(arrived / "small.tar.xz") as archive:
        archive.extractall(place, filter="data")
    shutil.copy(arrived / "folders", place)  # the number of folders
    for file in place.glob("data/*.jsonl.xz"):
        file.with_suffix("").write_bytes(lzma.decompress(file.read_bytes()))


def weights(arrived: Path, place: Path, number: int) -> None:
    """Write pieces of tensors under "name first-row rows-in-all". The file gets its final name when it is complete."""
    import numpy as np
    import torch
    from gguf import dequantize
    from gguf.constants import GGMLQuantizationType

    torch.set_num_threads(1)
    found = {}
    with np.load(arrived / f"weights.{number:02}.npz") as pieces, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about read-only arrays, which nothing writes to
        for key in pieces.files:
            name, first, rows, kind = key.split(" ")
            values = torch.from_numpy(dequantize(pieces[key], GGMLQuantizationType(int(kind))))
            found[f"{_renamed(name)} {first} {rows}"] = values.to(torch.bfloat16)
    out = place / "weights" / f"{number:02}.pt"
    out.parent.mkdir(parents=True, exist_ok=True)
    torch.save(found, out.with_suffix(".part"))
    out.with_suffix(".part").rename(out)


def _renamed(name: str) -> str:
    layer = re.match(r"blk\.(\d+)\.(\w+)\.(\w+)", name)
    if layer:
        return f"model.layers.{layer[1]}.{_NAMES[layer[2]]}.{layer[3]}"
    stem, _, kind = name.rpartition(".")
    return f"{_NAMES[stem]}.{kind}"


if __name__ == "__main__":
    if sys.argv[1:2] == ["small"] and len(sys.argv) == 4:
        small(Path(sys.argv[2]), Path(sys.argv[3]))
    elif sys.argv[1:2] == ["weights"] and len(sys.argv) == 5:
        weights(Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
    else:
        sys.exit(__doc__)
