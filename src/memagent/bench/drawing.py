"""Draws charts: colours, style, maps of percentages, and figures as PNG or SVG.

Colours are safe for the colour-blind: Okabe and Ito's for lines, and a scale of one hue for shares. matplotlib is
loaded only when something is drawn.
"""

from __future__ import annotations

import io
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from math import ceil, inf, isfinite, nan
from typing import TYPE_CHECKING, Any

from memagent.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, SOFT, LINE, CARD = "#23211d", "#67625a", "#e3dfd6", "#ffffff"  # the light theme of report.html
LOOKS = (
    ("#0072b2", "o"), ("#d55e00", "s"), ("#009e73", "D"), ("#cc79a7", "^"),
    ("#e69f00", "v"), ("#56b4e9", "P"), ("#7a5195", "X"), ("#8c6d31", "p"),
)  # fmt: skip
"""Colour and marker of each line in a chart."""
_SCALE = ("#f1f7f7", "#9fd0cd", "#2f8f8b", "#0b3f4a")
_WIDTH = 9.6  # inches
_BROAD = 10  # most columns of a map that shares its row with another map


@dataclass(frozen=True)
class Map:
    """A map of percentages as colours and numbers. Infinite values are hatched; NaN values are left empty."""

    title: str
    across: list[str]
    down: list[str]
    values: list[list[float]]
    """Values row by row."""


def available() -> bool:
    """Whether matplotlib is installed."""
    return find_spec("matplotlib") is not None


@contextmanager
def style() -> Iterator[None]:
    """Apply our colours over matplotlib's defaults, ignoring the user's settings. Needed for drawing and writing.

    Raises:
        UsageError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise UsageError("Charts need matplotlib: pip install 'memagent[plots]'.") from error
    settings: Any = {key: value for key, value in matplotlib.rcParamsDefault.items() if key != "backend"}
    settings |= {
        "font.size": 8.5, "axes.titlesize": 9.5, "axes.titleweight": "bold", "axes.titlelocation": "left",
        "text.color": INK, "axes.labelcolor": SOFT, "xtick.color": SOFT, "ytick.color": SOFT, "axes.edgecolor": LINE,
        "axes.facecolor": CARD, "figure.facecolor": CARD, "savefig.facecolor": CARD, "grid.color": LINE,
        "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True, "legend.frameon": False,
        "xtick.major.size": 0, "ytick.major.size": 0, "xtick.minor.size": 0, "hatch.color": SOFT,
        "hatch.linewidth": 0.6, "figure.constrained_layout.use": True, "svg.fonttype": "none",
        "svg.hashsalt": "memagent", "text.parse_math": False,
    }  # fmt: skip
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the font may lack letters of a task's name
        yield


def blank(height: float) -> Figure:
    """Return an empty figure of the common width; `height` is in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(_WIDTH, height))


def legend_line(label: str, colour: str, **look: Any) -> Artist:
    """Return a legend entry."""
    from matplotlib.lines import Line2D

    return Line2D([], [], color=colour, label=label, **look)


def side_by_side(maps: Sequence[Map]) -> Figure:
    """Draw the maps, two in a row if their axes are the same."""
    rows: list[list[Map]] = []
    for each in maps:
        last = rows[-1][0] if rows and len(rows[-1]) == 1 else None
        if last and (last.across, last.down) == (each.across, each.down) and len(each.across) <= _BROAD:
            rows[-1].append(each)
        else:
            rows.append([each])
    heights = [0.55 + 0.25 * len(row[0].down) for row in rows]
    with style():
        figure = blank(0.1 + sum(heights))
        places = figure.add_gridspec(len(rows), max(map(len, rows)), height_ratios=heights)
        for y, row in enumerate(rows):
            for x, each in enumerate(row):
                _map(figure.add_subplot(places[y, :] if len(each.across) > _BROAD else places[y, x]), each)
    return figure


def _map(axes: Axes, each: Map) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    scale = LinearSegmentedColormap.from_list("share", _SCALE)
    finite = [[value if isfinite(value) else nan for value in row] for row in each.values]
    axes.pcolormesh(finite, cmap=scale, vmin=0, vmax=100, edgecolor=CARD, linewidth=1)
    for y, row in enumerate(each.values):
        for x, value in enumerate(row):
            if isfinite(value):
                colour = "#fffffe" if value > 55 else "#23211e"  # not INK and CARD, which the page's theme replaces
                axes.text(x + 0.5, y + 0.5, f"{value:.0f}", color=colour, ha="center", va="center", fontsize=7.5)
            elif value == inf:
                axes.fill_between([x, x + 1], y, y + 1, hatch="////", facecolor=LINE, edgecolor=CARD)
    axes.set_title(each.title)
    axes.set_xticks([x + 0.5 for x in range(len(each.across))], each.across)
    axes.set_yticks([y + 0.5 for y in range(len(each.down))], each.down)
    axes.invert_yaxis()
    axes.spines[:].set_visible(False)


def stacked_bars(
    axes: Axes, names: Sequence[str], heights: Mapping[str, Sequence[float]], colours: Mapping[str, str]
) -> None:
    """Draw a stacked bar for each of the names. The first kind is at the bottom."""
    bottom = [0.0] * len(names)
    for kind, each in heights.items():
        axes.bar(range(len(names)), each, 0.7, bottom, color=colours[kind], edgecolor=CARD, linewidth=0.6, label=kind)
        bottom = [below + height for below, height in zip(bottom, each, strict=True)]
    crowded = len(names) * max(map(len, names)) > 65  # letters, in about half a figure
    axes.set_xticks(range(len(names)), names, rotation=40 if crowded else 0)
    axes.set_xlim(-0.6, max(len(names), 5) - 0.4)  # keeps the bars narrow if there are only a few
    axes.grid(axis="y")


def histogram(axes: Axes, counts: Counter[int], colour: str) -> None:
    """Draw at most 20 bars of counts over whole numbers. If there are more numbers, each bar covers several."""
    from matplotlib.ticker import MaxNLocator

    first, last = min(counts), max(counts)
    width = ceil((last - first + 1) / 20)
    starts = range(first, last + 1, width)
    heights = [sum(counts[number] for number in range(start, start + width)) for start in starts]
    middles = [start + (width - 1) / 2 for start in starts]
    axes.bar(middles, heights, width, color=colour, edgecolor=CARD, linewidth=0.6)
    axes.set_xlim(first - 1, max(last, first + 8) + width)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y")


def png(figure: Figure) -> bytes:
    """Return the figure on white as PNG. The bytes are the same each time."""
    with style():
        file = io.BytesIO()
        figure.savefig(file, format="png", dpi=160, metadata={"Software": None})
        return file.getvalue()


def svg(figure: Figure, name: str) -> str:
    """Return an `<svg>` for a page that defines --ink, --soft, --line, --card and --sans; `name` prefixes its ids."""
    with style():
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r'( id="|url\(#|href="#)', rf"\g<1>{name}-", text)
    text = re.sub(r"'DejaVu Sans'[^;\"]*", "var(--sans)", text)
    for colour, variable in ((INK, "ink"), (SOFT, "soft"), (LINE, "line"), (CARD, "card")):
        text = text.replace(colour, f"var(--{variable})")
    return text
