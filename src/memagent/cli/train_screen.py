"""Progress while training, on stderr: a live line with the figures and the time left.

A plain line remains for each evaluation and each checkpoint. If stderr is not a terminal, there is no live line, and a
plain line at most every five seconds instead.
"""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from memagent.cli.terminal import Terminal

_EVERY = 5.0  # seconds
_SHOWN = {
    "reward": "reward {:.2f}",
    "groups_kept": "kept {:.0f}",
    "loss": "loss {:.3f}",
    "completion_tokens": "completion {:.1f} tokens",
    "clipped": "clipped {:.1%}",
    "moved": "moved {:.4f}",
    "kl": "KL {:.4f}",
    "entropy": "entropy {:.2f}",
    "tokens_per_second": "{:,.0f} tokens/s",
}


class TrainScreen:
    """Shows a training run. A context manager; `on_part`, `on_step`, `on_save` and `say` are the run's callbacks."""

    def __init__(self, silent: bool, console: Console | None = None) -> None:
        self._console = console or Terminal(stderr=True)
        self._silent = silent
        self._live = Live(console=self._console, refresh_per_second=4, transient=True)
        self._part = ""
        self._accuracy = ""
        self._line = ""
        self._remains = False  # whether the line of this step was printed
        self._began: dict[str, tuple[float, int]] = {}
        self._said = 0.0

    def __enter__(self) -> Self:
        if not self._silent and self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live.is_started:
            self._live.stop()

    def on_part(self, part: int, parts: int) -> None:
        self._part = f"part {part} of {parts}, " if parts > 1 else ""
        self._began.clear()

    def on_step(self, stage: str, step: int, steps: int, figures: dict[str, Any]) -> None:
        now = time.perf_counter()
        began, first = self._began.setdefault(stage, (now - figures["seconds"], step - 1))
        left = (steps - step) * (now - began) / max(step - first, 1)
        accuracies = [f"{name.removeprefix('accuracy_')} {value:.0%}" for name, value in figures.items()
                      if name.startswith("accuracy_")]  # fmt: skip
        if accuracies:
            self._accuracy = f"accuracy at {', '.join(accuracies)}"
        facts = [shown.format(figures[name]) for name, shown in _SHOWN.items() if name in figures]
        if failed := figures.get("rollouts_failed"):
            facts.append(f"{failed} rollouts failed")
        at_most = "at most " if stage == "warmup" else ""
        self._line = (
            f"{self._part}{stage} {step}/{steps}  {', '.join([*facts, self._accuracy] if self._accuracy else facts)}, "
            f"{at_most}{left / 60:.1f} minutes left"
        )
        if self._live.is_started:
            self._live.update(Text(self._line))
        late = not self._live.is_started and now - self._said >= _EVERY
        self._remains = bool(accuracies) or step == steps or late
        if self._remains:
            self.say(self._line)

    def on_save(self, place: Path) -> None:
        self.say(f"saved {place.name}" if self._remains else f"{self._line}; saved {place.name}")

    def say(self, sentence: str) -> None:
        """Print a line that remains."""
        if not self._silent:
            self._said = time.perf_counter()
            self._console.print(sentence, soft_wrap=True)

    def table(self, found: dict[str, Any]) -> None:
        """Print accuracy over length to stdout."""
        rows = found["accuracy"]
        if not rows:
            return
        stages = list(dict.fromkeys(row["stage"] for row in rows))
        table = Table(
            rows[0]["unit"], *[{"warmup": "warm start", "rl": "with RL"}.get(stage, stage) for stage in stages]
        )
        for length in sorted({row["length"] for row in rows}):
            cells = []
            for stage in stages:
                here = [row for row in rows if row["length"] == length and row["stage"] == stage]
                cells.append(
                    "".join(f"{100 * row['mean']:.1f} [{100 * row['low']:.0f}–{100 * row['high']:.0f}]" for row in here)
                )
            table.add_row(f"{length:,}", *cells)
        Terminal().print(table)
