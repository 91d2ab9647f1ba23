"""The ablations on the nano preset: `python benchmarks/ablations.py OUT [SEEDS]`. An hour; run again to continue.

All variants of a seed share one warm start. From its end, `memagent train --preset nano` runs with one setting changed
and with fewer RL steps than the preset, where differences show. Each variant and seed has a folder in OUT. The script
prints exact match at the training length with greedy decoding, seed by seed, half way through RL and at its end. It is
not part of `run.py`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from statistics import fmean

from common import figure

from memagent.train.folder import read_metrics, stage_end

VARIANTS = {
    "as the preset": (),
    "credit to the last conversation only": ("rl.credit='last'",),
    "no dynamic sampling (no other groups are drawn)": ("rl.draws=1",),
    "advantage divided by the std": ("rl.divide_by_std=true",),
    "no clip-higher (0.2 on both sides)": ("rl.clip_high=0.2",),
    "every rollout weighs the same": ("rl.weighting='rollout'",),
}
STEPS = 100


def main(out: str, seeds: str = "3") -> None:
    starts = [_warm_start(Path(out) / f"warm-start-{seed}", seed) for seed in range(int(seeds))]
    for name, sets in VARIANTS.items():
        found = []
        for seed, start in enumerate(starts):
            folder = Path(out) / f"{name.split(' (')[0].replace(' ', '-')}-{seed}"
            _train(folder, seed, f"policy.model='{start}'", "warmup.steps=0", f"rl.steps={STEPS}", *sets)
            found.append(_accuracies(folder))
        half, end = ([each[place] for each in found] for place in (0, 1))
        figure(
            f"ablation: {name}",
            f"{fmean(end):.0%} ({', '.join(f'{each:.0%}' for each in end)})",
            f"half way {fmean(half):.0%} ({', '.join(f'{each:.0%}' for each in half)})",
        )


def _warm_start(folder: Path, seed: int) -> Path:
    """Return the checkpoint at the end of the warm start."""
    _train(folder, seed, "rl.steps=0")
    place = stage_end(folder, "warmup")
    assert place
    return place.resolve()


def _train(folder: Path, seed: int, *sets: str) -> None:
    options = [part for each in (*sets, f"seed={seed}", "watch.final_lengths=[]") for part in ("--set", each)]
    command = [sys.executable, "-m", "memagent", "train", "--preset", "nano", "--out", str(folder), *options, "--quiet"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ)


def _accuracies(folder: Path) -> tuple[float, float]:
    """Return the accuracies half way and at the end."""
    measured = [
        (row["step"], value)
        for row in read_metrics(folder / "metrics.jsonl")
        for key, value in row.items()
        if key.startswith("accuracy_")
    ]
    return next(value for step, value in measured if step >= STEPS / 2), measured[-1][1]


if __name__ == "__main__":
    main(*sys.argv[1:3])
