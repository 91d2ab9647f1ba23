"""All output to the terminal goes through here.

Text from outside cannot move the cursor, set a title or change the direction of writing.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

_KEPT = "\n\t"
_TURNS = {0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x2070)}
"""Characters that change the direction of writing."""

_WIDTH = 80  # columns, if the environment says 0


class _Visible(dict[int, str]):
    """A table for str.translate that makes control, escape and bidirectional characters visible, one for one."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        if char in _KEPT or not (code in _TURNS or unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp")):
            shown = char
        elif code < 0x20:
            shown = chr(0x2400 + code)  # the picture of the control character
        else:
            shown = "\u2421" if code == 0x7F else "\ufffd"
        self[code] = shown
        return shown


_VISIBLE = _Visible()


def visible(text: str) -> str:
    """The text, of the same length, with a visible sign for each character that would control the terminal."""
    return text.translate(_VISIBLE)


class Terminal(Console):
    """A rich Console that makes all text `visible`, also in panels, tables and progress bars."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**({"highlight": False} | options))
        if self.width < 1:  # COLUMNS=0
            self.width = _WIDTH

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=visible(segment.text))
