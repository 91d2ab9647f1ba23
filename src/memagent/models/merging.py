"""Merge a LoRA adapter into the weights of a GGUF file, because the engine cannot apply adapters to such a file.

The weights are dequantised, the adapter's product is added, and all matrices are written as float16. The GGUF file of a
Llama orders the rows of keys and queries differently from Hugging Face: it interleaves the two halves of each head. The
GGUF file of a Qwen2 does not.

Writing the file helps even without an adapter: OpenVINO cannot read every quantisation (Q5_0), and it rounds Q4_1 a
second time, so that the model writes different text (LOG.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from memagent.disk import replacing
from memagent.errors import ModelError, StorageError
from memagent.models.adapters import A, B, factors

_NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
ARCHITECTURES = ("llama", "qwen2")
"""Architectures, as a GGUF file names them, whose order of rows is known."""
_PREFIX = "base_model.model.model.layers."
_FLOAT16, _EIGHT_BITS = 1, 7  # gguf's LlamaFileType.MOSTLY_F16 and MOSTLY_Q8_0


def architecture(path: Path) -> str:
    """Return the architecture of the model in a GGUF file, such as "llama".

    Raises:
        ModelError: the file is damaged, or the architecture is not in `ARCHITECTURES`.
    """
    from gguf import GGUFReader

    try:
        found = str(GGUFReader(path).fields["general.architecture"].contents())
    except (ValueError, IndexError, KeyError) as error:
        raise ModelError(f"{path} is a damaged GGUF file ({error}): fetch it again.") from error
    if found not in ARCHITECTURES:
        raise ModelError(f"{path} is a {found} model, but only {', '.join(ARCHITECTURES)} can be read.")
    return found


def merge(base: Path, adapter: Path | None, out: Path, *, eight_bits: bool = False) -> None:
    """Write the GGUF file `out`: the model in the GGUF file `base`, with the peft adapter in the folder `adapter`.

    The file is written completely or not at all. A model of 135 million weights takes ten seconds.

    Args:
        eight_bits: write matrices as Q8_0 (32 weights share a scale) instead of float16. The engine reads Q8_0
            correctly for Qwen2, but gave wrong text for a Llama, with its other order of rows.

    Raises:
        ModelError: the adapter is damaged, is more than plain LoRA, or does not fit the weights.
        StorageError: `out` cannot be written.
    """
    from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter, dequantize, quantize

    changes = dict(_changes(adapter)) if adapter else {}
    kind_of_model = architecture(base)
    reader = GGUFReader(base)
    fields = {name: field.contents() for name, field in reader.fields.items() if "." in name}
    heads = {}
    if kind_of_model == "llama":
        heads = {
            "attn_q": fields["llama.attention.head_count"],
            "attn_k": fields["llama.attention.head_count_kv"],
        }
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with replacing(out) as temporary:
            writer = GGUFWriter(temporary, str(kind_of_model))
            for name, field in reader.fields.items():
                if name.startswith("GGUF.") or name == "general.architecture":
                    continue
                value = (_EIGHT_BITS if eight_bits else _FLOAT16) if name == "general.file_type" else fields[name]
                kind = field.types[0]
                writer.add_key_value(name, value, kind, field.types[-1] if kind == GGUFValueType.ARRAY else None)
            for tensor in reader.tensors:
                weights = dequantize(tensor.data, tensor.tensor_type)
                if tensor.name in changes:
                    change = changes.pop(tensor.name)
                    if change.shape != weights.shape:
                        raise ModelError(
                            f"The adapter in {adapter} does not fit {base}: {tensor.name} has a different shape."
                        )
                    weights = weights + _ordered(change, heads.get(tensor.name.split(".")[2], 0))
                if weights.ndim == 1:
                    writer.add_tensor(tensor.name, weights)
                elif eight_bits:
                    q8_0 = GGMLQuantizationType.Q8_0
                    writer.add_tensor(tensor.name, quantize(weights.astype(np.float32), q8_0), raw_dtype=q8_0)
                else:
                    writer.add_tensor(tensor.name, weights.astype(np.float16))
            if changes:
                raise ModelError(f"The adapter in {adapter} does not fit {base}, which has no {next(iter(changes))}.")
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
            writer.close()
    except OSError as error:
        raise StorageError(f"{out} cannot be written ({error.strerror or error}): make room.") from error


def _changes(adapter: Path) -> Iterator[tuple[str, Any]]:
    """Yield the GGUF name of each matrix that the adapter changes, and the matrix to add to it."""
    found, scale = factors(adapter)
    for name in sorted(found):
        if not name.endswith(A):
            continue
        layer, _, part = name.removeprefix(_PREFIX).removesuffix(A).partition(".")
        if part not in _NAMES:
            raise ModelError(f"The adapter in {adapter} changes {name}, which the engine's file has no place for.")
        a, b = (found[name.removesuffix(A) + end].astype(np.float32) for end in (A, B))
        # Not with `@`: while the engine is loaded, NumPy's threads hang in a matrix product.
        yield f"blk.{layer}.{_NAMES[part]}.weight", scale * np.einsum("or,ri->oi", b, a, optimize=False)


def _ordered(change: Any, heads: int) -> Any:
    """Change Hugging Face's order of rows to the GGUF's, if the matrix has heads."""
    if not heads:
        return change
    rows, columns = change.shape
    return change.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)
