"""Text from outside cannot control a terminal."""

from __future__ import annotations

import io

import pytest
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from memagent.cli.terminal import Terminal, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, with\ttab\nand line", "plain, with\ttab\nand line"),
        ("a\x1b[2Jb", "a␛[2Jb"),
        ("\x1b]0;title\x07", "␛]0;title␇"),
        ("\x9b31m\x7f", "\ufffd31m␡"),
        ("\u202eevil\u2066x\u2069", "\ufffdevil\ufffdx\ufffd"),
        ("a\u2028b\ud800", "a\ufffdb\ufffd"),
        ("Ünï‑côde 👩‍👩‍👧 می‌خواهم\u00ad", "Ünï‑côde 👩‍👩‍👧 می‌خواهم\u00ad"),
    ],
)
def test_visible(text: str, shown: str) -> None:
    assert visible(text) == shown
    assert visible(shown) == shown
    assert len(visible(text)) == len(text)


def test_whatever_is_printed_is_made_visible_and_colours_stay() -> None:
    out = io.StringIO()
    terminal = Terminal(file=out, force_terminal=True, color_system="standard", width=60)
    table = Table("head\x1b[2J")
    table.add_row("cell\x9b")
    for each in (Text("red\x1b]52;c;x", style="red"), Panel("in a panel\u202e"), table, "plain\x1b[1m"):
        terminal.print(each)
    printed = out.getvalue()
    assert "\x1b[31mred␛]52;c;x\x1b[0m" in printed
    for shown in ("in a panel\ufffd", "head␛[2", "cell\ufffd", "plain␛"):
        assert shown in printed
    for raw in ("\x1b]", "\x1b[2J", "\x9b", "\u202e"):
        assert raw not in printed


def test_a_terminal_without_columns_has_eighty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "0")
    out = io.StringIO()
    Terminal(file=out, soft_wrap=True).print("It sails on Monday.")
    assert out.getvalue() == "It sails on Monday.\n"
    assert Terminal(file=out).width == 80
