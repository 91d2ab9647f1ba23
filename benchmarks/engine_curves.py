"""Draw the rewards of several training runs in one figure: python benchmarks/engine_curves.py OUT.png LABEL=FOLDER…

Runs with the same label get the same colour. It also prints the tokens that each run learnt from per second.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import fmean

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

_WINDOW = 5  # steps in a point of a curve


def main(out: str, runs: list[str]) -> None:
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    colours: dict[str, str] = {}
    for each in runs:
        label, _, folder = each.partition("=")
        lines = [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]
        steps = [line for line in lines if line["stage"] == "rl"]
        rewards = [line["reward"] for line in steps]
        means = [fmean(rewards[max(0, end - _WINDOW) : end]) for end in range(1, len(rewards) + 1)]
        new = label not in colours
        colour = colours.setdefault(label, f"C{len(colours)}")
        axes.plot([line["step"] for line in steps], means, color=colour, label=label if new else None)
        print(f"{label}: {len(steps)} steps, {fmean(line['tokens_per_second'] for line in steps):,.0f} tokens/s")
    axes.set(xlabel="step", ylabel=f"reward, mean of {_WINDOW} steps", ylim=(0, None))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(out, dpi=130)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
