"""The two memories of quotes: one that the model writes again each time, and one that collects quotes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wanted import wanted

from memagent.core.budget import Budget
from memagent.core.prompts import NO_MEMORY, NONE, NOTHING, Prompts
from memagent.core.reading import Reader, Underway
from memagent.core.records import Completion, Segment
from memagent.core.segments import segments
from memagent.core.tokenizer import ByteTokenizer
from memagent.errors import WindowOverflow
from memagent.readers.collect import collect
from memagent.readers.collect import memorize as collecting
from memagent.readers.extract import extract
from memagent.readers.extract import memorize as extracting
from memagent.readers.halving import Memorize
from memagent.readers.quotes import LOOKS, tokens_of
from memagent.tasks.example import Length, Task
from memagent.tasks.lighthouses import make_demo
from memagent.tasks.needles import NeedleTask
from memagent.tasks.practice.mixture import PracticeTask
from memagent.tasks.tracing import TracingTask

PROMPTS = Prompts(update="Q={prompt} M={memory} S={chunk}", answer="Q={prompt} M={memory}")
BUDGET = Budget(question=50, segment=200, memory=100, answer=30)
ROOM = Budget(question=50, segment=2000, memory=1000, answer=30)
TEXT = "The key to the\n  attic is 12345. The key to the cellar\n is 777."


def step(memory: str, text: str = TEXT) -> Underway:
    """Return a reading of one section. Its answer is the next memory."""
    return Underway(extracting("which keys", memory, Segment(0, len(text), text, len(text)), BUDGET, PROMPTS))


def memories(memory: str, *written: str, text: str = TEXT) -> list[str]:
    """Return the memories after each completion: those that the later requests show, then the next memory."""
    under = step(memory, text)
    found = [under.take(Completion(text)).memory for text in written[:-1]]
    under.take(Completion(written[-1]))
    assert not under.wanted
    return [*found, under.answer]


ATTIC, CELLAR = "The key to the attic is 12345.", "The key to the cellar is 777."
BOTH = f"{ATTIC}\n{CELLAR}"


def test_a_quote_enters_whatever_the_white_space_and_the_section_is_looked_at_again() -> None:
    assert memories(NO_MEMORY, "The key to  the attic is 12345.", ATTIC) == [ATTIC, ATTIC]


@pytest.mark.parametrize(
    "invented", ["12345. The key to the cell", "key to the Attic", "2345.", "The attic has no key."]
)
def test_what_does_not_stand_in_the_section_stays_out_also_the_piece_of_a_word(invented: str) -> None:
    assert memories(NO_MEMORY, invented) == [NOTHING]
    assert memories(ATTIC, f"{ATTIC}\n{invented}") == [ATTIC]


@pytest.mark.parametrize(
    "slip", ["The key to the attic is 123.", "The key to the attic is 1234", "The key to attic is 12345."]
)
def test_a_slip_becomes_the_sentence_that_stands(slip: str) -> None:
    assert memories(NO_MEMORY, slip, "") == [ATTIC, ATTIC]


def test_a_quote_may_have_the_heading_of_its_paragraph_before_it() -> None:
    text = "Page 1:\nLouvre\nIt was built\n in 1190.\n \nPrado: the gallery\nIt was built in 1785."
    right = "Louvre: It was built in 1190.\nPrado: the gallery: It was built in 1785."
    wrong = "Louvre: It was built in 1785.\nPrado: It was built in 1785.\nParis: It was built in 1190."
    assert memories(NO_MEMORY, f"{right}\n{wrong}", right, text=text) == [right, right]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("T: yes no", "T\nx\nyes\nx\nno"),
        ("Paris: It is later than that", "Paris\nIt is early\n\nRome\nIt is later than that"),
    ],
)
def test_a_heading_is_the_paragraphs_own(line: str, text: str) -> None:
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
    assert memories(ATTIC, f'Updated memory:\n- {ATTIC}\n* "{CELLAR}"\n“{CELLAR}”', "") == [BOTH] * 2


@pytest.mark.parametrize("empty", [NO_MEMORY, NOTHING])
def test_that_nothing_was_found_is_no_quote(empty: str) -> None:
    assert memories(empty, empty) == [NOTHING]
    assert memories(empty, f"{empty}\n{ATTIC}", f"{ATTIC}\n{CELLAR}", CELLAR) == [ATTIC, BOTH, BOTH]


def test_a_quote_counts_once() -> None:
    assert memories(NO_MEMORY, f"{ATTIC}\n{ATTIC}\n\n", "") == [ATTIC, ATTIC]


def test_what_was_verified_stays_also_when_it_is_miscopied_or_left_out() -> None:
    old = "Nobody has the keys."
    assert memories(old, ATTIC, "") == [f"{old}\n{ATTIC}"] * 2
    assert memories(old, "Nobody has the kees.") == [old]
    assert memories(old, "") == [old]


def test_a_full_memory_is_what_the_model_chose_to_write() -> None:
    old = "Nobody has had the keys to this house for more than forty years. " * 2
    assert memories(old.strip(), ATTIC, "") == [ATTIC, ATTIC]
    assert memories(f"{ATTIC}\n{old.strip()}", BOTH, "") == [BOTH, BOTH]


def test_another_look_adds_or_changes_nothing() -> None:
    assert memories(NO_MEMORY, ATTIC, BOTH, BOTH) == [ATTIC, BOTH, BOTH]
    assert memories(NO_MEMORY, ATTIC, CELLAR, "") == [ATTIC, BOTH, BOTH]
    assert memories(NO_MEMORY, ATTIC, "") == [ATTIC, ATTIC]


@pytest.mark.parametrize("read", [extracting, collecting])
def test_the_looks_end(read: Memorize) -> None:
    numbers = [f"Number {number} stands here." for number in range(20)]
    text = " ".join(numbers)
    under = Underway(read("which", NO_MEMORY, Segment(0, len(text), text, len(text)), BUDGET, PROMPTS))
    while under.wanted:
        under.take(Completion("\n".join(numbers[: under.turns + 1])))
    assert under.turns == LOOKS
    assert under.answer == "\n".join(numbers[:LOOKS])


@pytest.mark.parametrize("read", [extract, collect])
def test_a_section_that_overflows_is_read_as_halves_but_only_at_the_first_look(read: Reader) -> None:
    text = f"{ATTIC}\n\n{CELLAR}\n"
    under = Underway(read("which keys", [Segment(0, len(text), text, len(text))], BUDGET, PROMPTS))
    under.overflow(WindowOverflow())
    first = wanted(under).segment
    assert first is not None
    assert first.whole == (0, len(text))
    assert under.take(Completion(ATTIC)).memory == ATTIC
    assert wanted(under).segment == first
    under.overflow(WindowOverflow())
    second = wanted(under)
    assert second.segment is not None
    assert (second.segment.start, second.memory) == (first.end, ATTIC)


LONG = f"{ATTIC} " + "The river runs slowly past the old mills. " * 20 + f"\n\n{CELLAR}"


def closer_look(*written: str) -> tuple[list[tuple[str, bool, bool]], str]:
    """Return the kind of each request, and whether it shows the attic and the cellar; and the next memory."""
    under = Underway(extracting("which keys", NO_MEMORY, Segment(0, len(LONG), LONG, 600), BUDGET, PROMPTS))
    seen: list[tuple[str, bool, bool]] = []
    for text in written:
        request = wanted(under)
        assert request.segment is not None
        assert request.segment.text == LONG
        prompt = request.messages[0].content.split("S=")[1]
        seen.append((request.kind, ATTIC in prompt, CELLAR in prompt))
        under.take(Completion(text))
    assert not under.wanted
    return seen, under.answer


def test_lines_copied_too_badly_make_a_long_section_be_read_in_halves() -> None:
    seen, memory = closer_look("The key of some attic: 99999 or so.", ATTIC, CELLAR)
    assert seen == [("memorize", True, True), ("first half", True, False), ("second half", False, True)]
    assert memory == BOTH


def test_a_long_section_that_gave_a_quote_is_not_read_in_halves() -> None:
    assert closer_look(f"{ATTIC}\nThe key of some attic: 99999 or so.", "") == ([("memorize", True, True)] * 2, ATTIC)


def test_a_long_section_that_gave_nothing_is_read_once() -> None:
    assert closer_look(NOTHING) == ([("memorize", True, True)], NOTHING)


def test_a_turn_holds_what_was_written_and_what_was_kept() -> None:
    under = Underway(extract("which keys", [Segment(0, len(TEXT), TEXT, len(TEXT))], BUDGET, PROMPTS))
    first = under.take(Completion(f"{ATTIC}\nand more"))
    again = under.take(Completion(ATTIC))
    last = under.take(Completion("both"))
    assert (first.completion.text, first.memory) == (f"{ATTIC}\nand more", ATTIC)
    assert (again.memory, again.index) == (ATTIC, 1)
    assert (last.completion.text, last.memory, under.answer) == ("both", ATTIC, "both")


# -- a memory that collects --


def collected(memory: str, *written: str, text: str = TEXT, tokens: int = 30) -> list[str]:
    """Return the memories after each completion: those that the later requests show, then the next memory."""
    under = Underway(collecting("which keys", memory, Segment(0, len(text), text, tokens), BUDGET, PROMPTS))
    found = [under.take(Completion(text)).memory for text in written[:-1]]
    under.take(Completion(written[-1]))
    assert not under.wanted
    return [*found, under.answer]


def test_none_leaves_the_memory_as_it_was_and_costs_one_turn() -> None:
    assert collected(NO_MEMORY, NONE) == [NOTHING]
    assert collected(ATTIC, NONE) == [ATTIC]
    assert collected(ATTIC, "") == [ATTIC]


def test_new_quotes_are_added_in_the_order_of_the_document() -> None:
    assert collected("Old.", CELLAR, ATTIC, NONE) == [f"Old.\n{CELLAR}", f"Old.\n{BOTH}", f"Old.\n{BOTH}"]


def test_what_is_collected_already_is_nothing_new() -> None:
    assert collected(ATTIC, ATTIC) == [ATTIC]
    assert collected(ATTIC, f"{ATTIC}\n{CELLAR}\nThe attic is haunted.", NONE) == [BOTH, BOTH]


def test_the_prompt_shows_the_section_first_and_then_the_problem_and_the_memory() -> None:
    under = Underway(collecting("which {chunk}", ATTIC, Segment(0, len(TEXT), TEXT, 30), BUDGET, PROMPTS))
    prompt = wanted(under).messages[0].content
    assert prompt.index(TEXT) < prompt.index("Problem: which {chunk}\n") < prompt.index(f"Collected so far:\n{ATTIC}\n")
    asked = wanted(under)
    assert (asked.kind, asked.memory, asked.max_tokens) == ("memorize", ATTIC, BUDGET.memory)


LINES = [f"Line {number} has exactly forty characters." for number in range(3)]  # 3 x 42 tokens are more than 100


def full(reply: str) -> str:
    """Return the memory after the model chose between three lines, two of which fit."""
    under = Underway(collecting("which", "\n".join(LINES[:2]), Segment(0, 42, LINES[2], 42), BUDGET, PROMPTS))
    under.take(Completion(LINES[2]))
    under.take(Completion(NONE))
    asked = wanted(under)
    assert (asked.kind, asked.memory) == ("choose", "\n".join(LINES))
    assert f"1. {LINES[0]}\n2. {LINES[1]}\n3. {LINES[2]}\n" in asked.messages[0].content
    under.take(Completion(reply))
    assert not under.wanted
    return under.answer


@pytest.mark.parametrize(
    ("reply", "kept"),
    [
        ("1, 3", [0, 2]),
        ("2", [1]),
        ("3 and 1", [0, 2]),
        ("17", [1, 2]),  # nonsense: the newest that fit
        ("all of them", [1, 2]),
        ("1 2 3", [1, 2]),
    ],
)
def test_when_the_memory_is_full_the_model_chooses_by_number(reply: str, kept: list[int]) -> None:
    assert full(reply) == "\n".join(LINES[number] for number in kept)


def test_the_model_may_choose_to_keep_nothing() -> None:
    assert full(NONE) == NOTHING


def test_the_estimate_of_tokens_follows_the_section() -> None:
    assert tokens_of(["abc", "abcde"], Segment(0, 100, "x" * 100, 50)) == 5
    assert tokens_of([], Segment(0, 0, "", 0)) == 0


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
        under = Underway(extract(example.question, pieces, ROOM, PROMPTS))
        while segment := wanted(under).segment:
            right = ideal[segment.end]
            memory = under.take(Completion(right)).memory
            assert right == NOTHING or set(right.splitlines()) <= set(memory.splitlines())


@given(
    st.lists(st.sampled_from(["a b", "b", "a", "c d", "ab", " b a ", ""]), max_size=4), st.text("abc d\n", max_size=30)
)
def test_every_line_of_a_memory_of_quotes_stands_in_the_text(lines: list[str], text: str) -> None:
    under = step(NO_MEMORY, text)
    under.take(Completion("\n".join(lines)))
    memory = wanted(under).memory if under.wanted else under.answer
    words = " ".join(text.split())
    assert memory == NOTHING or all(line and f" {line} " in f" {words} " for line in memory.splitlines())
