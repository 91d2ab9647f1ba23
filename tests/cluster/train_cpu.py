"""`memagent train --engine verl` on a machine without a GPU: python train_cpu.py ARGUMENTS OF MEMAGENT TRAIN."""

from __future__ import annotations

import json
import sys

import verl  # noqa: F401  (loads the platform before anything else asks for it)
import verl_cpu

from memagent.__main__ import main

if __name__ == "__main__":
    places = {"sampler": f"'{verl_cpu.NAME}'", "gpus": "1", "verl": json.dumps(verl_cpu.SETTINGS)}
    sets = [f"--set=cluster.{name}={value}" for name, value in places.items()]
    sys.argv = ["memagent", "train", "--engine", "verl", *sys.argv[1:], *sets]
    main()
