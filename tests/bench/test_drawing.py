from __future__ import annotations

import re
import sys
from collections import Counter
from dataclasses import replace
from math import inf, nan

import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from memagent.bench import drawing
from memagent.bench.drawing import Map, side_by_side
from memagent.errors import UsageError

MAP = Map("<b>$x_{任务", ["8k", "16k"], ["vt", "cwe"], [[3.4, inf], [nan, 100.0]])


def bars(figure: Figure) -> list[Rectangle]:
    return [patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle)]


def test_a_map_writes_what_is_finite_and_hatches_what_is_infinite() -> None:
    (axes,) = side_by_side([MAP]).axes
    texts = [(text.get_position(), text.get_text()) for text in axes.texts]
    assert texts == [((0.5, 0.5), "3"), ((1.5, 1.5), "100")]
    (hatched,) = axes.collections[1:]
    box = hatched.get_paths()[0].get_extents()
    assert (hatched.get_hatch(), box.x0, box.y0, box.x1, box.y1) == ("////", 1, 0, 2, 1)


def test_maps_of_the_same_axes_stand_side_by_side_two_in_a_row() -> None:
    other = replace(MAP, across=["50p", "100p"])
    broad = replace(MAP, across=[str(x) for x in range(11)], values=[[1.0] * 11] * 2)
    figure = side_by_side([MAP, MAP, MAP, other, broad, broad])
    places = [(spec.rowspan.start, spec.colspan.start, spec.colspan.stop)
              for axes in figure.axes if (spec := axes.get_subplotspec())]  # fmt: skip
    assert places == [(0, 0, 1), (0, 1, 2), (1, 0, 1), (2, 0, 1), (3, 0, 2), (4, 0, 2)]


def test_stacked_bars_stand_on_each_other() -> None:
    figure = drawing.blank(2)
    drawing.stacked_bars(figure.add_subplot(), ["4k", "8k"], {"a": [1, 2], "b": [10, 20]}, {"a": "red", "b": "blue"})
    assert [(bar.get_y(), bar.get_height()) for bar in bars(figure)] == [(0, 1), (0, 2), (1, 10), (2, 20)]
    assert [label.get_rotation() for label in figure.axes[0].get_xticklabels()] == [0, 0]


def test_names_that_would_overlap_are_tilted() -> None:
    figure = drawing.blank(2)
    drawing.stacked_bars(figure.add_subplot(), [f"{1000 + k}p" for k in range(15)], {"a": [1] * 15}, {"a": "red"})
    assert {label.get_rotation() for label in figure.axes[0].get_xticklabels()} == {40}


@pytest.mark.parametrize(
    ("counts", "heights"),
    [
        ({3: 10, 5: 2}, [10, 0, 2]),
        ({7: 1}, [1]),
        ({1: 1, 2: 1, 20: 5}, [1, 1, *[0] * 17, 5]),
        ({1: 1, 2: 1, 21: 5}, [2, *[0] * 9, 5]),
    ],
)
def test_a_histogram_has_at_most_twenty_bars(counts: dict[int, int], heights: list[int]) -> None:
    figure = drawing.blank(2)
    drawing.histogram(figure.add_subplot(), Counter(counts), "red")
    assert [bar.get_height() for bar in bars(figure)] == heights


def test_an_svg_takes_the_colours_of_its_page_and_keeps_its_ids_apart() -> None:
    text = drawing.svg(side_by_side([MAP]), "one")
    assert text.startswith("<svg")
    assert "&lt;b&gt;$x_{任务" in text
    assert "var(--ink)" in text
    assert "var(--sans)" in text
    assert not re.search(f"DejaVu|{drawing.INK}|{drawing.SOFT}|<metadata", text)
    ids = re.findall(r' id="([^"]+)"', text)
    assert ids
    assert all(each.startswith("one-") for each in ids)
    links = [first or second for first, second in re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', text)]
    assert links
    assert set(links) <= set(ids)


def test_the_same_figure_gives_the_same_bytes() -> None:
    one, two = side_by_side([MAP]), side_by_side([MAP])
    assert drawing.svg(one, "x") == drawing.svg(two, "x")
    assert drawing.png(one) == drawing.png(two)
    assert drawing.png(one).startswith(b"\x89PNG")


def test_the_users_own_settings_change_nothing() -> None:
    import matplotlib

    usual = drawing.svg(side_by_side([MAP]), "x")
    with matplotlib.rc_context({"text.color": "red", "font.size": 20, "axes.grid": True}):
        assert drawing.svg(side_by_side([MAP]), "x") == usual


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    assert drawing.available()
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert not drawing.available()
    with pytest.raises(UsageError, match=r"pip install 'memagent\[plots\]'"):
        side_by_side([MAP])
