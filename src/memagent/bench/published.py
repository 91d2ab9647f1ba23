"""Figures that the paper reports (arXiv 2507.02259), for comparison with our own.

The paper's evaluation leaves failed requests out of the mean and scores with a lenient `sub_em`; ours does neither.
"""

from __future__ import annotations

PARAGRAPHS = (50, 100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600)
"""Lengths of RULER-HotpotQA in paragraphs."""
TOKENS = tuple(7 * 1024 * 2**power for power in range(10))
"""The same lengths in tokens, 7K to 3.5M."""

Row = tuple[float | None, ...]
"""Accuracy in percent at each of these lengths; None if the paper reports none."""

RULER_HQA: dict[str, Row] = {
    "RL-MemAgent-14B": (83.59, 82.03, 84.38, 80.47, 76.56, 81.25, 75.00, 77.34, 76.56, 78.12),
    "RL-MemAgent-7B": (82.03, 79.69, 78.91, 77.34, 79.69, 72.66, 74.22, 76.56, 75.78, 71.09),
    "QwenLong-L1-32B": (72.66, 75.00, 72.66, None, 31.25, None, 13.28, 11.72, None, None),
    "Qwen2.5-14B-1M": (60.16, 60.94, 50.00, None, 50.00, None, 8.59, 0.00, None, None),
}
"""Version 1 of the paper: 128 questions per length, so the standard error is about 3.3 points."""

RULER_HQA_REVISED: dict[str, Row] = {
    "RL-MemAgent-14B": (80.47, None, None, None, 81.25, None, None, 75.78, None, 71.09),
    "RL-MemAgent-7B": (81.25, None, None, None, 79.69, None, None, 74.22, None, 71.88),
}
"""Version 2 of the paper (ICLR 2026), which reports fewer lengths."""

RULER_TASKS = frozenset(
    {"niah_single_1", "niah_single_2", "niah_single_3", "niah_multikey_1", "niah_multikey_2", "niah_multikey_3",
     "niah_multivalue", "niah_multiquery", "vt", "fwe"}
)  # fmt: skip
RULER_AVERAGE = 95.0
"""RL-MemAgent's average on these ten tasks is above this value at all lengths of RULER_RANGE."""
RULER_RANGE = (8 * 1024, 512 * 1024)
