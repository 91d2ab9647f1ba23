"""Plots of a training run: its metrics step by step, and accuracy over text length with and without RL."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_COLOURS = {"warmup": "#d55e00", "rl": "#0072b2"}  # from the colour-blind-safe palette of Okabe and Ito
_NAMES = {"warmup": "warm start only", "rl": "with RL"}


def available() -> bool:
    """Whether matplotlib is installed."""
    return find_spec("matplotlib") is not None


def draw(metrics: Sequence[dict[str, Any]], accuracy: Sequence[dict[str, Any]], folder: Path) -> list[Path]:
    """Write training.png and, if there are accuracies, length.png. Returns the files written."""
    from matplotlib.figure import Figure

    written = [folder / "training.png"]
    figure = Figure(figsize=(14.4, 6.4), layout="constrained")
    grid = figure.subplots(2, 3)
    _steps(grid[0][0], metrics, "warmup", "loss", "warm start: loss")
    _steps(grid[0][1], metrics, "rl", "reward", "RL: mean reward of the sampled rollouts", "accuracy")
    _steps(grid[0][2], metrics, "rl", "tokens_per_segment", "RL: tokens written for a segment")
    _steps(grid[1][0], metrics, "rl", "entropy", "RL: entropy")
    _steps(grid[1][1], metrics, "rl", "clipped", "RL: share of tokens clipped")
    _steps(grid[1][2], metrics, "rl", "groups_kept", "RL: groups with different rewards")
    figure.savefig(written[0], dpi=120)
    if accuracy:
        figure = Figure(figsize=(6.4, 4.4), layout="constrained")
        _lengths(figure.subplots(), accuracy)
        written.append(folder / "length.png")
        figure.savefig(written[1], dpi=120)
    return written


def _steps(axes: Any, metrics: Sequence[dict[str, Any]], stage: str, name: str, title: str, also: str = "") -> None:
    rows = [row for row in metrics if row["stage"] == stage]
    axes.plot(
        [row["step"] for row in rows if name in row], [row[name] for row in rows if name in row], color=_COLOURS[stage]
    )
    marks = [(row["step"], row[key]) for row in rows for key in row if also and key.startswith(also)]
    if marks:
        axes.plot(*zip(*marks, strict=True), "o", color="#009e73", markersize=3, label="accuracy, greedy")
        axes.legend(frameon=False)
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_xlabel("step")
    axes.spines[["top", "right"]].set_visible(False)


def _lengths(axes: Any, accuracy: Sequence[dict[str, Any]]) -> None:
    for stage in dict.fromkeys(row["stage"] for row in accuracy):
        rows = sorted((row for row in accuracy if row["stage"] == stage), key=lambda row: row["length"])
        means = [100 * row["mean"] for row in rows]
        bars = [[100 * (row["mean"] - row["low"]) for row in rows], [100 * (row["high"] - row["mean"]) for row in rows]]
        axes.errorbar(
            [row["length"] for row in rows], means, bars, marker="o", capsize=3, color=_COLOURS[stage],
            label=_NAMES[stage],
        )  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.set_ylim(0, 102)
    axes.set_xlabel(f"{accuracy[0]['unit']} of the text")
    axes.set_ylabel("accuracy, % (95 % intervals)")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
