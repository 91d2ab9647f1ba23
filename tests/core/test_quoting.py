"""Quotes are found in any spelling, kept in the document's own spelling, and never cut in half."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memagent.core.quoting import Section, bare, squeezed

AROUND = "The river runs slowly past the old mills of the valley. " * 3


def find(line: str, text: str) -> str | None:
    found = Section(text).find(line)
    return found[1] if found else None


@pytest.mark.parametrize(
    ("told", "copied"),
    [
        ("The Hof\u00admann com\u00adpany pays 1450 eu\u00adros.", "The Hofmann company pays 1450 euros."),
        ("The Hof\u200bmann company pays.", "The Hofmann company pays."),
        (unicodedata.normalize("NFD", "The café of Müller pays."), "The café of Müller pays."),
        ("The office of Griﬃn pays the ﬁne.", "The office of Griffin pays the fine."),
        ("Ada’s “Swift Heron” isn’t for sale.", 'Ada\'s "Swift Heron" isn\'t for sale.'),
        ("The lease runs 2019–2024 — not longer.", "The lease runs 2019-2024 - not longer."),
        ("The well\u2011known Hofmann\u2011Lark company pays.", "The well-known Hofmann-Lark company pays."),
        ("The\u00a0Hofmann company pays 1\u00a0450\u202feuros.", "The Hofmann company pays 1 450 euros."),
        ("The Hofmann company pays １４５０ euros.", "The Hofmann company pays 1450 euros."),
        ("It names the Hofmann com-\npany as the tenant.", "It names the Hofmann company as the tenant."),
        ("The **Hofmann** company pays *1450* _euros_.", "The Hofmann company pays 1450 euros."),
        ("The company pays… 1450 euros.", "The company pays... 1450 euros."),
        ("تدفع الشركـــة مبلغ 1450 يورو", "تدفع الشركة مبلغ 1450 يورو"),
        ("شرکت می\u200cپردازد 1450 یورو", "شرکت میپردازد 1450 یورو"),
        ("החברה\u200f משלמת 1450 יורו", "החברה משלמת 1450 יורו"),
        ("The company pays 1 450 000 euros.", "The company pays 1,450,000 euros."),
    ],
)  # fmt: skip
def test_a_quote_is_found_whatever_its_spelling_and_keeps_the_documents_own(told: str, copied: str) -> None:
    text = f"{AROUND}\n\n{told}\n\n{AROUND}"
    assert find(copied, text) == squeezed(told)
    assert find(told, text) == squeezed(told)


@pytest.mark.parametrize(
    ("half", "text"),
    [
        ("47", "The number is 47-11."),
        ("30", "It begins at 1:30 sharp."),
        ("5", "It is -5 degrees."),
        ("5", "(-5) degrees"),
        ("The key is 1", "The key is 1,234."),
        ("50 is the price", "12.50 is the price"),
        ("The year is 20", "The year is 2024/25."),
        ("key_1", "It is key_1_2."),
        ("ox", "The foxes sleep."),
    ],
)
def test_numbers_dates_and_words_are_never_half_quoted(half: str, text: str) -> None:
    assert find(half, text) is None


@pytest.mark.parametrize(
    ("written", "line"),
    [
        ("- The key is 7.", "The key is 7."),
        ("1. The key is 7.", "The key is 7."),
        ("* “The key is 7.”", "The key is 7."),
        ('- "• The key is 7."', "The key is 7."),
        ("  The  key is 7. ", "The key is 7."),
    ],
)
def test_what_a_model_puts_around_a_line_is_taken_off(written: str, line: str) -> None:
    assert bare(written) == line


@given(st.text('-•*1. "“”a ', max_size=12))
def test_a_bare_line_stays_as_it_is(line: str) -> None:
    assert bare(bare(line)) == bare(line)


def test_a_list_item_of_the_document_can_be_quoted_with_its_number() -> None:
    text = "Duties:\n3. The tenant mows.\n“4” is left out."
    assert find("3. The tenant mows.", text) == "3. The tenant mows."
    assert find("The tenant mows.", text) == "The tenant mows."
    assert find("“4” is left out.", text) == "“4” is left out."


NEEDLES = (
    "One of the special magic numbers for ugly-forebear is: 3672592. "
    "One of the special magic uuids for able-cat is: 1f0c6a2e-93d1-4b54-8a66-0de1b2f3a4c5. "
)


@pytest.mark.parametrize(
    ("slip", "line"),
    [
        (
            "One of the magic numbers for ugly-forebear is: 3672592.",
            "One of the special magic numbers for ugly-forebear is: 3672592.",
        ),
        (
            "One of the special magic uuids for able-cat is: 1f0c6a2e-93d1-4b54-8a66-0de1b2f3a5c5.",
            "One of the special magic uuids for able-cat is: 1f0c6a2e-93d1-4b54-8a66-0de1b2f3a4c5.",
        ),
    ],
)
def test_a_slip_is_mended_by_the_sentence_that_stands(slip: str, line: str) -> None:
    section = Section(f"{AROUND}{NEEDLES}{AROUND}")
    assert section.find(slip) is None
    found = section.nearest(slip)
    assert found is not None
    assert found == (section.text.index(line), line)


@pytest.mark.parametrize(
    "invented",
    [
        "One of the special magic numbers for tidy-ocean is: 1122334.",
        "One of the special magic numbers for ugly-forebear",
        "VAR MIKAH = VAR MIKAH",
        "The text does not say.",
    ],
)
def test_what_was_made_up_is_not_mended(invented: str) -> None:
    assert Section(f"{NEEDLES}\nVAR MIKAH = VAR XKVRV\n{AROUND}").nearest(invented) is None


@given(st.text("ab-\n \u00ad\u200b“'*_é1,.", max_size=60), st.data())
def test_every_quote_stands_in_the_text(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    line = text[start : data.draw(st.integers(start, len(text)))]
    found = Section(text).find(line)
    if found:
        assert found[1].replace(": ", "").replace(" ", "") in squeezed(text).replace(": ", "").replace(" ", "")


def test_an_empty_section_and_an_empty_line_give_nothing() -> None:
    assert Section("").find("a") is None
    assert Section("").nearest("a") is None
    assert Section("a").find("  ") is None
    assert Section("\u200b\n").find("\u200b") is None
