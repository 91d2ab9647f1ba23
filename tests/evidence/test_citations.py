"""From the memory to the spans of the document that it came from."""

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from turns import finished, memorized

from memagent.core.records import Segment, Trace, Turn
from memagent.evidence.citations import Citation, cite

UBAR = (
    "Travellers tell of many places. The lost city of Ubar lies in what is now\nOman, under the sand. Few went there."
)
CODE = "It rained all day. The code of the vault is 4812, said the clerk. Nobody wrote it down."
TAIL = "Nothing else happened in the village that summer. The harvest was poor and the winter long."


def trace(question: str, answer: str | None, *steps: tuple[str, str]) -> Trace:
    """Return a reading of (segment, memory after it) pairs; unfinished if there is no answer."""
    turns, start = [], 0
    for index, (text, memory) in enumerate(steps):
        segment = Segment(start, start + len(text), text, max(1, len(text) // 4))
        turns.append(memorized(index, segment, memory))
        start += len(text)
    return Trace(question, tuple(turns)) if answer is None else finished(question, turns, answer)


def check(trace: Trace, **options: int) -> list[Citation]:
    """Return the citations of a trace after checking their spans."""
    document = "".join(turn.request.segment.text for turn in trace.memories if turn.request.segment)
    citations = cite(trace, **options)
    for citation in citations:
        assert document[citation.start : citation.end] == citation.quote != ""
        segment = trace.turns[citation.turn].request.segment
        assert segment is not None
        assert segment.start <= citation.start < citation.end <= segment.end
        assert 0 <= citation.score <= 1
    return citations


def test_a_fact_is_found_in_the_segment_where_it_entered_across_a_line_break() -> None:
    fact = "The lost city of Ubar is in Oman."
    [citation] = check(trace("Where is Ubar?", "Oman", (TAIL, "Nothing yet."), (UBAR, fact), (TAIL, fact)))
    assert citation.quote == "The lost city of Ubar lies in what is now\nOman, under the sand."
    assert (citation.turn, citation.fact) == (1, fact)


def test_the_fact_that_holds_the_answer_comes_first() -> None:
    memory = "- The vault code is 4812\n- The lost city of Ubar lies in Oman"
    reading = trace("Which city is lost, and what is the vault's code?", "The lost city of Ubar", (UBAR + CODE, memory))
    assert [citation.fact for citation in check(reading)] == [
        "The lost city of Ubar lies in Oman",
        "The vault code is 4812",
    ]
    assert len(check(reading, most=1)) == 1


def test_facts_that_bear_on_neither_answer_nor_question_are_left_out() -> None:
    memory = "The harvest was poor and the winter long.\nThe lost city of Ubar lies in Oman."
    citations = check(trace("Where is Ubar?", "Oman", (UBAR, ""), (TAIL, memory), (UBAR, memory)))
    assert "harvest" not in "".join(citation.quote for citation in citations)


def test_of_two_segments_with_a_fact_the_one_where_it_entered_is_cited() -> None:
    fact = "The vault code is 4812."
    [citation] = check(trace("What is the code?", "4812", (CODE, ""), (CODE, fact), (CODE, fact)))
    assert citation.turn == 1


def test_a_fact_overwritten_and_read_again_is_cited_where_it_entered_last() -> None:
    fact = "The vault code is 4812."
    [citation] = check(trace("What is the code?", "4812", (CODE, fact), (TAIL, "A poor harvest."), (CODE, fact)))
    assert citation.turn == 2


def test_a_fact_reworded_beyond_recognition_for_a_while_is_found_further_back() -> None:
    fact = "The vault code is 4812."
    steps = (CODE, fact), (TAIL, "Safe: four, eight, one, two"), (TAIL, fact)
    [citation] = check(trace("What is the code?", "4812", *steps))
    assert citation.turn == 0


def test_numbers_gathered_over_several_segments_are_cited_each_where_it_was_read() -> None:
    first, second = "One of the magic numbers is 481223.", "Another of the magic numbers is 771904."
    steps = (first, "Magic numbers: 481223"), (TAIL, "Magic numbers: 481223"), (second, "Magic numbers: 481223, 771904")
    citations = check(trace("What are the magic numbers?", "481223, 771904", *steps))
    assert {(citation.turn, citation.quote) for citation in citations} == {(0, first), (2, second)}


@pytest.mark.parametrize(
    "memory",
    [
        "",
        "No previous memory",
        "Yes.",
        "The vault code is 4821.",  # two digits swapped
        "The vault code is 48123.",
        "The code of the vault, said the clerk, is 4821.",  # a clause of it would fit
        "The clerk married the mayor's daughter in Paris.",
        "The question asks for the code of the vault.",
        "The code of the vault",
        "What is the code of the vault, said the clerk?",
        "**\n- \n1.\n###",
    ],
)
def test_nothing_is_cited_for(memory: str) -> None:
    assert check(trace("What is the code of the vault?", memory, (CODE, memory), (TAIL, memory))) == []


def test_a_short_fact_is_cited_when_it_is_distinct() -> None:
    for memory in ("4812", "Code: 4812", "**4812**", "1. 4812"):
        [citation] = check(trace("What is the code of the vault?", "4812", (CODE, memory)))
        assert citation.quote == "The code of the vault is 4812, said the clerk."


def test_a_name_alone_is_cited_beside_a_word_of_the_question() -> None:
    steps = ("Ships came from Oman. " + UBAR, "Oman")
    [citation] = check(trace("Where is Ubar?", "Oman", steps))
    assert "Ubar" in citation.quote
    assert not check(trace("Where is Atlantis?", "Oman", steps))


def test_of_two_passages_the_one_that_speaks_of_what_was_asked_is_cited() -> None:
    [citation] = check(trace("What is the code of the vault?", "4812", ("Room 4812 was empty. " + CODE, "4812")))
    assert citation.quote == "The code of the vault is 4812, said the clerk."


def test_a_passage_may_say_she_where_the_name_was_read_before() -> None:
    memory = "Anna Kern died in Leeds in 1984."
    death = "She died in Leeds in 1984."
    for steps in (
        [("Anna Kern was a clerk. " + TAIL + " So it was. " + death, memory)],
        [("Anna Kern was a clerk.", "Anna Kern: a clerk."), (TAIL + " " + death, memory)],
    ):
        [citation] = check(trace("?", "1984", *steps))
        assert citation.quote == death
    assert not check(trace("?", "1984", (TAIL + " " + death, memory)))


def test_a_passage_with_another_number_is_not_cited() -> None:
    assert not check(trace("?", "1985", ("Anna Kern died in Leeds in 1984.", "Anna Kern died in Leeds in 1985.")))


def test_a_yes_or_no_question_may_be_answered_in_its_own_words() -> None:
    memory = "The lost city of Ubar lies in Oman."
    assert check(trace("Does the lost city of Ubar lie in Oman?", "Yes", (UBAR, memory)))
    assert not check(trace("Does the lost city of Ubar lie in Jordan?", "Yes", (UBAR, "Ubar lies in Jordan.")))


def test_a_memory_stuck_in_a_loop_is_one_citation() -> None:
    for memory in ("The vault code is 4812. " * 300, "the code is 4812 and " * 300, "- code: 4812\n" * 300):
        assert len(check(trace("What is the code of the vault?", "4812", (CODE, memory)))) == 1


@pytest.mark.parametrize(
    ("segment", "memory", "quote"),
    [
        (
            "🜁🜂 Début. L’été, Chloé habita\nà Besançon. Fin.",
            "Chloe habita a Besancon",
            "L’été, Chloé habita\nà Besançon.",
        ),
        ("天气很好。密码是蓝色大象，请记住。再见。", "密码是蓝色大象", "密码是蓝色大象，请记住。"),
        ("So it was. The infor-\nmation officer was Anna Kern. End.", "Information officer: Anna Kern", None),
        ("It sold 12,500 copies in May 1984. Good.", "12500 copies were sold in May 1984", None),
        ("Mr. Brown met Dr. Green in York. So.", "Mr. Brown met Dr. Green in York", "Mr. Brown met Dr. Green in York."),
        (
            "She had four brothers, all sailors. So.",
            "She had 4 brothers, sailors.",
            "She had four brothers, all sailors.",
        ),
    ],
)
def test_text_of_many_kinds(segment: str, memory: str, quote: str | None) -> None:
    [citation] = check(trace("?", memory, (segment, memory)))
    assert quote in (None, citation.quote)


def test_overlapping_spans_are_merged() -> None:
    text = "Anna Kern was born in York in 1912. She died in Leeds in 1984."
    memory = "Anna Kern was born in York in 1912.\nAnna Kern, born in York, died in Leeds in 1984."
    citations = check(trace("When did Anna Kern live?", "1912 to 1984", (text, memory)))
    assert all(a.end <= b.start or b.end <= a.start for a in citations for b in citations if a is not b)


def test_an_unfinished_reading_is_cited_by_its_question() -> None:
    assert check(trace("What is the code of the vault?", None, (CODE, "The code is 4812.")))
    assert cite(Trace("What?", ())) == []


class Counted(tuple[Turn, ...]):
    """Turns that count how often one is looked at, because each look reads from a journal on disk."""

    looks = 0

    def __getitem__(self, place: int) -> Turn:  # type: ignore[override]
        self.looks += 1
        return super().__getitem__(place)


def test_all_facts_are_followed_in_one_walk_and_not_for_ever() -> None:
    facts = "The lost city of Ubar lies in Oman. The vault code is 4812. The harvest was poor, the winter long."
    kept = Counted(trace("?", None, (UBAR + CODE + TAIL, facts), *[(TAIL, facts)] * 300).turns)
    assert len(check(Trace("Ubar, vault, harvest?", kept))) == 3
    assert kept.looks < 2 * 301 + 20
    unfounded = [(TAIL, f"Nothing yet, {i}.") for i in range(300)]
    lost = Counted(trace("?", None, *unfounded, (TAIL, facts)).turns)
    assert [citation.turn for citation in cite(Trace("Ubar, vault, harvest?", lost))] == [300]
    assert lost.looks < 80


WORDS = st.sampled_from(
    ["Ubar", "4812", "1,000", "the", "city", "Oman.", "É", "ﬁ", "\n", "- ", "沙漠之城", "İ", "a" * 500]
)
TEXT = st.one_of(st.text(max_size=60), st.lists(WORDS, max_size=30).map(" ".join))


@given(st.lists(st.tuples(TEXT.filter(bool), TEXT), max_size=5), TEXT, TEXT)
@settings(deadline=None)
def test_every_quote_is_in_the_document(steps: list[tuple[str, str]], question: str, answer: str) -> None:
    check(trace(question, answer, *steps))


@given(st.lists(TEXT.filter(bool), min_size=1, max_size=4))
@settings(deadline=None)
def test_every_quote_is_in_the_document_when_the_memory_copies_it(texts: list[str]) -> None:
    check(trace("?", texts[-1], *((text, "\n".join(texts[: i + 1])) for i, text in enumerate(texts))))


def test_seven_hundred_turns_take_seconds() -> None:
    rng = random.Random(7)
    names = [
        f"{a}{b}{c}" for a in "bdfgklmnprst" for b in ("a", "ei", "o", "u") for c in ("ndo", "rsk", "lium", "ttle")
    ]

    def sentence() -> str:
        return " ".join(rng.choices(names, k=11)).capitalize() + f" {rng.randrange(10**5)}. "

    steps, memory = [], [sentence() for _ in range(50)]
    for _ in range(700):
        segment = [sentence() for _ in range(270)]
        memory[rng.randrange(50)] = rng.choice(segment)
        steps.append(("".join(segment), "\n".join(memory)))
    reading = trace("Which " + " ".join(names) + "?", memory[3], *steps)
    started = time.perf_counter()
    citations = check(reading, most=100)
    assert len(citations) > 40
    assert time.perf_counter() - started < 30  # about 2 s on an idle machine


@pytest.mark.parametrize(
    ("document", "memory"),
    [
        ("The Hof\u00admann com\u00adpany pays 1450 eu\u00adros.", "The Hofmann company pays 1450 euros."),
        ("The café of Mu\u0308ller pays Zoe\u0308 1450 euros.", "The café of Müller pays Zoë 1450 euros."),
        ("The company pays 1 450 000 euros to Ada Lark.", "The company pays 1,450,000 euros to Ada Lark."),
        ("The company pays 1\u00a0450\u202f000 euros to Ada Lark.", "The company pays 1450000 euros to Ada Lark."),
        ("The o\ufb03ce of Gri\ufb03n pays \uff11\uff14\uff15\uff10 euros.", "The office of Griffin pays 1450 euros."),
    ],
)
def test_a_fact_is_found_in_another_spelling_and_cited_in_the_documents(document: str, memory: str) -> None:
    [citation] = check(trace("Who pays?", memory, (f"{TAIL} {document} {TAIL}", memory)))
    assert citation.quote == document
    assert citation.score == 1


def test_numbers_that_only_stand_side_by_side_are_found_one_by_one() -> None:
    document = "In chapter 3 100 men of Ubar march to the sea."
    [citation] = check(trace("How many men march?", "100", (f"{TAIL} {document} {TAIL}", "100 men of Ubar march.")))
    assert citation.quote == document


def test_the_score_is_of_what_the_fact_says_and_not_only_of_its_telling_words() -> None:
    document = "The Time Traveller (so it will be convenient to speak of him) was expounding a recondite matter to us."
    told = trace("What was the Time Traveller doing?", "speaking", (document, "The Time Traveller was speaking to us."))
    copied = trace("What was the Time Traveller doing?", "expounding", (document, document))
    [reworded], [whole] = check(told), check(copied)
    assert reworded.score == pytest.approx(6 / 7)  # all words but "speaking", which is "speak" there, and earlier
    assert whole.score == 1
