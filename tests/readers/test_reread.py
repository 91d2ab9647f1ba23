"""After the reader has read everything in order, it reads again the segments that BM25 finds for what is missing."""

from __future__ import annotations

from collections.abc import Callable

from keeper import FACTS, FILLER, KEYS, QUESTION, perfect, pieces
from wanted import wanted

from memagent.core.budget import Budget
from memagent.core.prompts import Prompts
from memagent.core.reading import Reader, Underway
from memagent.core.records import Completion, Request
from memagent.readers import READERS
from memagent.readers.reread import TIMES

TEXTS = [FILLER, f"{FILLER}{FACTS[0]} ", FILLER, f"{FILLER}{FACTS[1]} ", FILLER]


def read(reply: Callable[[Request], str], reader: Reader = READERS["reread_gated"]) -> tuple[Underway, list[Request]]:
    under = Underway(reader(QUESTION, pieces(*TEXTS), Budget(), Prompts()))
    asked = []
    while under.wanted:
        asked.append(wanted(under))
        under.take(Completion(reply(asked[-1])))
    return under, asked


def test_a_memory_that_is_enough_is_answered_from() -> None:
    under, asked = read(perfect)
    assert [request.kind for request in asked] == ["memorize"] * 5 + ["check", "answer"]
    assert under.answer == f"\\boxed{{{KEYS}}}"


def test_what_was_overlooked_is_found_when_it_is_read_again() -> None:
    looks = 0

    def careless(request: Request) -> str:
        nonlocal looks
        if request.segment and FACTS[0] in request.segment.text:
            looks += 1
            return perfect(request) if looks > 1 else "NO CHANGE"
        return perfect(request)

    under, asked = read(careless)
    kinds = [request.kind for request in asked]
    assert kinds == ["memorize"] * 5 + ["check", "memorize", "memorize", "check", "answer"]
    again = asked[6]
    assert again.segment is not None
    assert FACTS[0] in again.segment.text
    assert f"{QUESTION}\nWhat is missing: keeper of lighthouse 3" in again.messages[0].content
    assert under.answer == f"\\boxed{{{KEYS}}}"


def test_quotes_are_looked_for_with_the_question_itself() -> None:
    first = True

    def careless(request: Request) -> str:
        nonlocal first
        if request.segment and FACTS[0] in request.segment.text and first:
            first = False
            return "NONE"
        return perfect(request)

    under, asked = read(careless, READERS["reread_collect"])
    assert under.answer == f"\\boxed{{{KEYS}}}"
    assert sum(request.kind == "try" for request in asked) == 2
    assert under.memory == "\n".join(FACTS)  # in the order of the document, though the first was found last


def test_a_model_that_is_never_satisfied_is_asked_a_few_times() -> None:
    _, asked = read(lambda request: "NO: lighthouse" if request.kind == "check" else f"{request.memory}+")
    assert [request.kind for request in asked].count("check") == TIMES


def test_a_look_that_adds_nothing_is_the_last_and_so_is_a_no_without_words() -> None:
    _, asked = read(lambda request: "NO: lighthouse" if request.kind == "check" else "NO CHANGE")
    assert [request.kind for request in asked].count("check") == 1
    _, asked = read(lambda request: "NO" if request.kind == "check" else "NO CHANGE")
    assert [request.kind for request in asked] == ["memorize"] * 5 + ["check", "answer"]
