"""The weights of an adapter in float16: half the bytes to carry.

python training/kit/halve.py FROM TO
"""

from __future__ import annotations

import sys

import torch
from safetensors.torch import load_file, save_file

if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    weights = {name: each.to(torch.float16) for name, each in load_file(sys.argv[1]).items()}
    save_file(weights, sys.argv[2], metadata={"format": "pt"})
