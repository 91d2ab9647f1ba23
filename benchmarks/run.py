"""Run all benchmarks, or those named: `python benchmarks/run.py loop questions`. About 45 minutes on two cores."""

from __future__ import annotations

import sys
from importlib import import_module

ALL = [
    "startup",
    "loop",
    "client",
    "lookup",
    "questions",
    "linear",
    "memory",
    "generate",
    "bench",
    "readers",
    "serving",
    "train",
]

for name in sys.argv[1:] or ALL:
    import_module(name).main()
