"""The ablations on the nano preset: `python benchmarks/ablations.py OUT [SEEDS]`. Hours; run again to go on.

Each run is `memagent train --preset nano` with one setting changed; a variant and a seed have a folder in OUT. Printed:
exact match at the training length, greedy, when RL is half done and at its end, seed by seed. Not part of `run.py`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from statistics import fmean

from common import figure

from memagent.train.run import read_metrics

VARIANTS = {
    "as the preset": (),
    "credit to the last conversation only": ("rl.credit='last'",),
    "no dynamic sampling (no other groups are drawn)": ("rl.draws=1",),
    "advantage divided by the std": ("rl.divide_by_std=true",),
    "no clip-higher (0.2 on both sides)": ("rl.clip_high=0.2",),
    "every rollout weighs the same": ("rl.weighting='rollout'",),
}
WATCH = ("watch.final_lengths=[]", "watch.evaluate_every=20")


def main(out: str, seeds: str = "3") -> None:
    for name, sets in VARIANTS.items():
        found = [
            _run(Path(out) / f"{name.split(' (')[0].replace(' ', '-')}-{seed}", seed, sets)
            for seed in range(int(seeds))
        ]
        half, end = ([each[place] for each in found] for place in (0, 1))
        figure(
            f"ablation: {name}",
            f"{fmean(end):.0%} ({', '.join(f'{each:.0%}' for each in end)})",
            f"half way {fmean(half):.0%} ({', '.join(f'{each:.0%}' for each in half)})",
        )


def _run(folder: Path, seed: int, sets: tuple[str, ...]) -> tuple[float, float]:
    """The accuracy half way, and at the end."""
    options = [part for each in (*sets, *WATCH, f"seed={seed}") for part in ("--set", each)]
    command = [sys.executable, "-m", "memagent", "train", "--preset", "nano", "--out", str(folder), *options, "--quiet"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ)
    measured = [
        (row["step"], value)
        for row in read_metrics(folder / "metrics.jsonl")
        if row["stage"] == "rl"
        for key, value in row.items()
        if key.startswith("accuracy_")
    ]
    last = measured[-1][0]
    return next(value for step, value in measured if step >= last / 2), measured[-1][1]


if __name__ == "__main__":
    main(*sys.argv[1:3])
