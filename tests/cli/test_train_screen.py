"""The lines that a training leaves on the screen."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from memagent.cli.train_screen import TrainScreen


def remaining(written: str) -> list[str]:
    """The lines on a terminal after all of this was written to it."""
    lines, row = [""], 0
    for piece in re.split(r"(\x1b\[\??\d*[A-Za-z]|[\r\n])", written):
        if piece == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif piece == "\x1b[2K":
            lines[row] = ""
        elif piece == "\x1b[1A":
            row -= 1
        elif piece and piece[0] not in "\x1b\r":
            lines[row] += piece
    return [line for line in lines if line]


@pytest.mark.parametrize("terminal", [True, False])
def test_a_line_remains_for_each_evaluation_and_each_checkpoint(terminal: bool) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, color_system=None, highlight=False, width=120)
    with TrainScreen(silent=False, console=console) as screen:
        screen._said = 1e12  # plain lines at intervals are not looked at here
        for step in range(1, 6):
            figures = {"seconds": 1.0, "loss": step / 10} | ({"accuracy_48": 0.5} if step == 3 else {})
            screen.on_step("warmup", step, 10, figures)
            if step in (2, 3):
                screen.on_save(Path(f"run/checkpoints/warmup-00000{step}"))
                screen._said = 1e12
    lines = [re.sub(r"at most .* left", "…", line) for line in remaining(out.getvalue())]
    assert lines == [
        "warmup 2/10  loss 0.200, …; saved warmup-000002",
        "warmup 3/10  loss 0.300, accuracy at 48 50%, …",
        "saved warmup-000003",
    ]


def test_without_a_terminal_a_line_is_printed_now_and_then_and_a_silent_screen_prints_nothing() -> None:
    for silent, lines in ((False, 1), (True, 0)):
        out = io.StringIO()
        with TrainScreen(silent, Console(file=out)) as screen:
            for step in (1, 2):
                screen.on_step("rl", step, 10, {"seconds": 1.0, "reward": 0.5})
        assert out.getvalue().count("\n") == lines
