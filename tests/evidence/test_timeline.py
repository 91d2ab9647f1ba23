"""Changes that each turn made to the memory."""

import io
import random
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.console import Console
from turns import finished, memorized

from memagent.core.records import Completion, Finish, Request, Segment, Trace, Turn, Usage
from memagent.evidence.timeline import Change, changes, elided, picture, render


def trace(*memories: str, finish: Finish = "stop") -> Trace:
    """Return a reading of ten characters per turn that wrote these memories."""
    usage = Usage(1200, 34, 2.5)
    turns = [
        memorized(k, Segment(10 * k, 10 * k + 10, "x" * 10, 3), memory, finish, usage)
        for k, memory in enumerate(memories)
    ]
    return finished("?", turns, "Answer")


def test_a_turn_that_adds_and_removes() -> None:
    first, second = changes(trace("Ann lives in York.", "Ann lives in Leeds, with Bob."))
    assert first.parts == (("added", "Ann lives in York."),)
    assert (first.added, first.removed, first.kept, first.share) == (4, 0, 0, 1.0)
    assert second.parts == (("same", "Ann lives in"), ("removed", " York."), ("added", " Leeds, with Bob."))
    assert (second.added, second.removed, second.kept, second.share) == (3, 1, 3, 4 / 7)
    assert (second.turn, second.kind, second.span, second.finish) == (1, "memorize", (10, 20), "stop")
    assert second.usage == Usage(1200, 34, 2.5)


def test_nothing_changed_and_nothing_written() -> None:
    empty, same, again, gone = changes(trace("", "A fact.", "A fact.", ""))
    assert empty.parts == ()
    assert again.parts == (("same", "A fact."),)
    assert gone.parts == (("removed", "A fact."),)
    assert [change.share for change in (empty, same, again, gone)] == [0, 1, 0, 1]
    assert changes(Trace("?", ())) == []


def test_a_lone_word_that_happens_to_stay_is_not_called_the_same() -> None:
    _, change = changes(trace("He saw the red house there", "Ann met the old baker once"))
    assert [op for op, _ in change.parts] == ["removed", "added"]


MEMORY = st.one_of(
    st.text(max_size=40),
    st.lists(st.sampled_from(["a", "b", " ", "\n", "\n- ", "the city", "\u3000", "\x1c", "é "]), max_size=20).map(
        "".join
    ),
)


@given(st.lists(MEMORY, max_size=5))
@example(["a b", "a b c", " a b c", "b c", "a b a b", "a b a b a b"])
@settings(deadline=None)
def test_the_parts_join_to_both_memories(memories: list[str]) -> None:
    before = ""
    for change, memory in zip(changes(trace(*memories)), memories, strict=True):
        assert "".join(text for op, text in change.parts if op != "removed") == memory
        assert "".join(text for op, text in change.parts if op != "added") == before
        assert all(text for _, text in change.parts)
        assert all(a[0] != b[0] for a, b in zip(change.parts, change.parts[1:], strict=False))
        assert 0 <= change.share <= 1
        before = memory


def test_long_unchanged_stretches_are_elided() -> None:
    long = " ".join(f"word{i}" for i in range(100))
    _, change = changes(trace(f"{long} end", f"{long} other end {long}"))
    parts = list(elided(change.parts))
    assert [op for op, _ in parts] == [op for op, _ in change.parts]
    assert parts[0][1].startswith("… ")
    assert parts[0][1].endswith("word98 word99")
    assert len(parts[0][1]) < 80
    assert parts[1:] == list(change.parts[1:])  # changes are never shortened


def test_elided_keeps_both_sides_of_a_stretch_between_two_changes() -> None:
    long = " ".join(f"word{i}" for i in range(100))
    [_, (_, middle), _] = elided((("added", "A "), ("same", long), ("added", " Z")), around=12)
    assert middle == "word0 … word99"
    assert list(elided((("same", long),), around=12)) == [("same", " …")]
    assert list(elided((("same", "short"),))) == [("same", "short")]


def text_of(*memories: str, finish: Finish = "stop", color: bool = False) -> str:
    out = io.StringIO()
    render(
        trace(*memories, finish=finish),
        Console(file=out, width=100, force_terminal=color, color_system="standard" if color else None),
    )
    return out.getvalue()


def test_the_terminal_shows_every_turn() -> None:
    text = text_of("Ann [b]lives[/b] in York.", "Ann [b]lives[/b] in Leeds.", "Ann [b]lives[/b] in Leeds.")
    assert "   2  characters 10–20  +1 −1 =3 words  1,200 → 34 tokens  2.5 s" in text
    assert "Ann [b]lives[/b] in[- York.-]{+ Leeds.+}" in text
    assert "unchanged" in text
    assert "cut by the limit" not in text
    assert "still empty" in text_of("")
    assert "cut by the limit" in text_of("Ann", finish="length")


def test_added_is_green_and_removed_is_struck_through() -> None:
    text = text_of("Ann lives in York.", "Ann lives in Leeds.", color=True)
    assert "\x1b[9;31m York." in text
    assert "\x1b[32m Leeds." in text


def test_a_change_without_usage_says_nothing_of_it() -> None:
    plain = picture(Change(0, "memorize", (0, 10), (("added", "Ann"),), "stop", Usage())).plain
    assert "tokens" not in plain
    assert " s\n" not in plain


@pytest.mark.parametrize("kind", ["edits", "loops"])
def test_seven_hundred_turns_take_seconds(kind: str) -> None:
    rng = random.Random(3)
    words = [f"word{i}" for i in range(3000)]
    memories, memory = [], rng.choices(words, k=700)
    for _ in range(700):
        at = rng.randrange(680)
        memory[at : at + 10] = rng.choices(words, k=12 if len(memory) < 700 else 8)
        loop = (" ".join(memory[:3]) + " ") * rng.randrange(230)
        memories.append(" ".join(memory) if kind == "edits" else loop)
    started = time.perf_counter()
    assert len(changes(trace(*memories))) == 700
    assert time.perf_counter() - started < 20  # under 1 s on an idle machine


def test_a_turn_that_read_no_segment_says_what_it_was_for() -> None:
    merged = Turn(1, Request((), 1024, kind="merge"), Completion("Ann and Bob"), "Ann and Bob", wave=1)
    first = memorized(0, Segment(0, 10, "x" * 10, 3), "Ann")
    [_, change] = changes(Trace("?", [first, merged]))
    assert (change.kind, change.span) == ("merge", None)
    assert picture(change).plain.startswith("   2  merge  +2")
