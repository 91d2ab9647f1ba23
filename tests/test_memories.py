"""Two kinds of memory: what the model wrote, and quotes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memagent.budget import Budget
from memagent.demo import make_demo
from memagent.errors import WindowOverflow
from memagent.memories import LOOKS, STEPS, extract
from memagent.prompts import NO_MEMORY, NOTHING, Prompts
from memagent.reading import Underway, reading
from memagent.records import Completion, Segment
from memagent.segments import segments
from memagent.tasks.example import Length, Task
from memagent.tasks.needles import NeedleTask
from memagent.tasks.practice import PracticeTask
from memagent.tasks.tracing import TracingTask
from memagent.tokenizer import ByteTokenizer

PROMPTS = Prompts(update="Q={prompt} M={memory} S={chunk}", answer="Q={prompt} M={memory}")
BUDGET = Budget(question=50, segment=200, memory=100, answer=30)
TEXT = "The key to the\n  attic is 12345. The key to the cellar\n is 777."


def step(memory: str, text: str = TEXT) -> Underway:
    """What it yields are the requests of one section, and its answer is the next memory."""
    return Underway(extract("which keys", memory, Segment(0, len(text), text, len(text)), BUDGET, PROMPTS))


def memories(memory: str, *written: str, text: str = TEXT) -> list[str]:
    """The memories that the requests after the first show, then the one that the step gives."""
    under = step(memory, text)
    found = [under.take(Completion(text)).memory for text in written[:-1]]
    under.take(Completion(written[-1]))
    assert under.request is None
    return [*found, under.answer]


ATTIC, CELLAR = "The key to the attic is 12345.", "The key to the cellar is 777."


def test_a_quote_enters_whatever_the_white_space_and_the_section_is_looked_at_again() -> None:
    assert memories(NO_MEMORY, "The key to  the attic is 12345.", ATTIC) == [ATTIC, ATTIC]


@pytest.mark.parametrize(
    "invented",
    [
        "The key to the attic is 123.",
        "The key to the attic is 1234",
        "12345. The key to the cell",
        "key to the Attic",
        "2345.",
    ],
)
def test_what_does_not_stand_in_the_section_stays_out_also_the_piece_of_a_word(invented: str) -> None:
    assert memories(NO_MEMORY, invented) == [NOTHING]
    assert memories(ATTIC, f"{ATTIC}\n{invented}") == [ATTIC]


def test_a_quote_may_have_the_heading_of_its_paragraph_before_it() -> None:
    text = "Page 1:\nLouvre\nIt was built\n in 1190.\n \nPrado: the gallery\nIt was built in 1785."
    right = "Louvre: It was built in 1190.\nPrado: the gallery: It was built in 1785."
    wrong = "Louvre: It was built in 1785.\nPrado: It was built in 1785.\nParis: It was built in 1190."
    assert memories(NO_MEMORY, f"{right}\n{wrong}", right, text=text) == [right, right]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("The key is 1", "The key is 1,234."),
        ("The price is 12", "The price is 12.50."),
        ("50 is the price", "12.50 is the price"),
        ("key_1", "It is key_1_2."),
        ("T: yes no", "T\nx\nyes\nx\nno"),
        ("T: later", "x\ny\nT\nlater"),
        ("T: later", "T\nx\flater"),
    ],
)
def test_a_quote_is_whole(line: str, text: str) -> None:
    assert memories(NO_MEMORY, line, text=text) == [NOTHING]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("The price is 12", "The price is 12, or 13."),
        ("T: no x yes", "T\nno\nx\nyes"),
        ("钥匙是1234", "阁楼的钥匙是1234。"),
        ("(see below", "It says (see below)."),
    ],
)
def test_a_quote_ends_where_a_word_does_or_where_there_are_no_spaces(line: str, text: str) -> None:
    assert memories(NO_MEMORY, line, line, text=text) == [line, line]


def test_a_bullet_and_quotation_marks_do_not_belong_to_a_quote() -> None:
    assert memories(ATTIC, f'Updated memory:\n- {ATTIC}\n* "{CELLAR}"\n“{CELLAR}”', "") == [f"{ATTIC}\n{CELLAR}"] * 2


@pytest.mark.parametrize("empty", [NO_MEMORY, NOTHING])
def test_that_nothing_was_found_is_no_quote(empty: str) -> None:
    assert memories(empty, empty) == [NOTHING]
    assert memories(empty, f"{empty}\n{ATTIC}", f"{ATTIC}\n{CELLAR}", CELLAR) == [ATTIC, *[f"{ATTIC}\n{CELLAR}"] * 2]


def test_a_quote_counts_once() -> None:
    assert memories(NO_MEMORY, f"{ATTIC}\n{ATTIC}\n\n", "") == [ATTIC, ATTIC]


def test_the_memory_before_may_stay_or_be_overwritten() -> None:
    assert memories("Nobody has the keys.", "Nobody has the keys.") == ["Nobody has the keys."]
    assert memories("Nobody has the keys.", ATTIC, ATTIC) == [ATTIC, ATTIC]
    assert memories("Nobody has the keys.", "") == [NOTHING]


def test_another_look_adds_or_changes_nothing() -> None:
    both = f"{ATTIC}\n{CELLAR}"
    assert memories(NO_MEMORY, ATTIC, both, both) == [ATTIC, both, both]
    assert memories(NO_MEMORY, ATTIC, CELLAR) == [ATTIC, ATTIC]
    assert memories(NO_MEMORY, ATTIC, "") == [ATTIC, ATTIC]


def test_the_looks_end() -> None:
    numbers = [f"Number {number} stands here." for number in range(20)]
    under = step(NO_MEMORY, " ".join(numbers))
    while under.request:
        under.take(Completion("\n".join(numbers[: under.turns + 1])))
    assert under.turns == LOOKS
    assert under.answer == "\n".join(numbers[:LOOKS])


def test_a_section_that_overflows_is_read_as_halves_but_only_at_the_first_look() -> None:
    text = f"{ATTIC}\n\n{CELLAR}\n"
    under = Underway(reading("which keys", [Segment(0, len(text), text, len(text))], BUDGET, PROMPTS, extract))
    under.overflow(WindowOverflow())
    assert under.request is not None
    assert under.request.segment is not None
    assert under.request.segment.rest == (len(text),)
    first = under.request.segment
    assert under.take(Completion(ATTIC)).memory == ATTIC
    assert under.request.segment == first
    under.overflow(WindowOverflow())
    assert under.request.segment.start == first.end
    assert under.request.memory == ATTIC


def test_a_turn_holds_what_was_written_and_what_was_kept() -> None:
    under = Underway(reading("which keys", [Segment(0, len(TEXT), TEXT, len(TEXT))], BUDGET, PROMPTS, extract))
    first = under.take(Completion(f"{ATTIC}\nand more"))
    again = under.take(Completion(ATTIC))
    last = under.take(Completion("both"))
    assert (first.completion.text, first.memory) == (f"{ATTIC}\nand more", ATTIC)
    assert (again.kept, again.memory, again.index) == (None, ATTIC, 1)
    assert (last.kept, last.memory, under.answer) == (None, "both", "both")


@pytest.mark.parametrize(
    "task",
    [
        NeedleTask("multivalue", "noise", values=4),
        NeedleTask("multiquery", "prose", keys=4, queries=4, prose=make_demo(40_000).document),
        TracingTask(),
        PracticeTask(make_demo(50_000).document),
    ],
    ids=lambda task: str(task.name),
)
def test_a_perfect_reader_loses_nothing_in_a_memory_of_quotes(task: Task) -> None:
    tokenizer = ByteTokenizer()
    for number in range(16):
        example = task.example(Length(12_000), number, 5, tokenizer)
        pieces = list(segments([example.document], 2000, tokenizer))
        ideal = dict(zip([piece.end for piece in pieces], task.memories(example, pieces), strict=True))
        under = Underway(reading(example.question, pieces, BUDGET, PROMPTS, STEPS["extractive"]))
        while under.request and under.request.segment:
            wanted = ideal[under.request.segment.end]
            assert under.take(Completion(wanted)).memory == wanted


@given(
    st.lists(st.sampled_from(["a b", "b", "a", "c d", "ab", " b a ", ""]), max_size=4), st.text("abc d\n", max_size=30)
)
def test_every_line_of_a_memory_of_quotes_stands_in_the_text(lines: list[str], text: str) -> None:
    under = step(NO_MEMORY, text)
    under.take(Completion("\n".join(lines)))
    memory = under.answer if under.request is None else under.request.memory
    assert memory is not None
    words = " ".join(text.split())
    assert memory == NOTHING or all(line and f" {line} " in f" {words} " for line in memory.splitlines())
