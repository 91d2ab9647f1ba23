"""The segments that BM25 finds are read first, and the model decides whether to read more."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from keeper import FACTS, FILLER, KEYS, QUESTION, perfect, pieces
from wanted import wanted

from memagent.core.budget import Budget
from memagent.core.prompts import Prompts
from memagent.core.reading import Reader, Underway
from memagent.core.records import Completion, Request, Segment
from memagent.readers import READERS
from memagent.readers.lookup import Lookup
from memagent.readers.search import BEST, LOOKS

EMPTY = [FILLER * 20] * 10
SPLIT = [*EMPTY, f"{FILLER}{FACTS[0]} ", *EMPTY, f"{FILLER}{FACTS[1]} ", *EMPTY]


def read(
    texts: Iterable[str], reply: Callable[[Request], str] = perfect, reader: Reader = READERS["search_gated"]
) -> tuple[str, list[tuple[str, int]]]:
    """Return the answer, and for each request its kind and the number of its segment; -1 if it has none."""
    segments = pieces(*texts)
    numbers = {segment.start: number for number, segment in enumerate(segments)}
    under = Underway(reader(QUESTION, segments, Budget(), Prompts()))
    asked = []
    while under.wanted:
        request = wanted(under)
        asked.append((request.kind, numbers[request.segment.start] if request.segment else -1))
        under.take(Completion(reply(request)))
    return under.answer, asked


def test_only_what_the_question_is_about_is_read() -> None:
    answer, asked = read(SPLIT)
    assert answer == f"\\boxed{{{KEYS}}}"
    assert asked == [("memorize", 10), ("memorize", 21), ("check", -1), ("answer", -1)]
    answer, asked = read(SPLIT, reader=READERS["search_collect"])
    assert answer == f"\\boxed{{{KEYS}}}"
    assert [kind for kind, _ in asked] == ["memorize"] * 4 + ["try", "answer"]


def test_the_model_may_look_for_something_of_its_own() -> None:
    hidden = f"{FILLER}In the sand dunes Anna buried a chest. "

    def curious(request: Request) -> str:
        prompt = request.messages[0].content
        if request.kind == "check":
            return "YES" if "chest" in request.memory else "NO: Anna in the dunes"
        if request.kind == "memorize":
            return (
                "found the chest" if "chest" in prompt else "NO CHANGE" if "lighthouse 3 hides" not in prompt else "m"
            )
        return "\\boxed{done}"

    answer, asked = read([*SPLIT[:12], *EMPTY, hidden], curious)
    assert answer == "\\boxed{done}"
    assert asked == [("memorize", 10), ("check", -1), ("memorize", 22), ("check", -1), ("answer", -1)]


def test_quotes_that_answer_the_question_are_followed_until_a_look_finds_nothing_more() -> None:
    decoys = [f"{FILLER}Lighthouses 3 and 44 have keys. "] * (BEST - 1)
    first, second, third = "Lighthouse 3 belongs to Vogel. ", "Vogel sold his bell to Karlsen. ", "Karlsen has a boat. "
    texts = [*EMPTY, first, *decoys, *EMPTY, second, *EMPTY, third]

    def hasty(request: Request) -> str:
        if request.kind == "try":
            return "\\boxed{Vogel}"
        text = request.segment.text if request.segment else ""
        return next(
            (f"- {line}" for line in (first, second, third) if line in text and line.strip() not in request.memory),
            "NONE",
        )

    _, asked = read(texts, hasty, READERS["search_collect"])
    looked = [number for kind, number in asked if kind == "memorize"]
    assert sorted(set(looked)) == [10, 11, 12, 13, 24, 35]
    assert [kind for kind, _ in asked].count("try") == 3


def test_without_words_to_look_for_the_rest_is_read_in_order_until_it_is_enough() -> None:
    texts = [*SPLIT[:11], FILLER, "What the l1ght hides. ", *EMPTY]

    def vague(request: Request) -> str:
        if request.kind == "check":
            return "YES" if "l1ght" in request.memory else "hm"
        if request.kind == "memorize" and "l1ght" in request.messages[0].content.split("<section>")[1]:
            return f"{request.memory} l1ght"
        return perfect(request)

    _, asked = read(texts, vague)
    read_in_order = [number for number in range(13) if number != 10]
    assert [number for _, number in asked] == [10, -1, *read_in_order, -1, -1]


def test_if_nothing_can_be_searched_for_everything_is_read_in_order() -> None:
    _, asked = read(["Alpha. ", "Beta. ", "Gamma. "], lambda request: "NO CHANGE")
    assert asked == [("memorize", 0), ("memorize", 1), ("memorize", 2), ("answer", -1)]


def test_there_is_an_end_to_looking() -> None:
    texts = [f"{FILLER}lighthouse {number} " for number in range(40)]

    def never(request: Request) -> str:
        return "NO: lighthouse" if request.kind == "check" else f"{request.memory}+"

    _, asked = read(texts, never)
    numbers = [number for kind, number in asked if kind == "memorize"]
    assert sorted(numbers) == list(range(40))
    assert numbers[LOOKS * BEST :] == sorted(numbers[LOOKS * BEST :])


def test_a_look_reads_in_the_order_of_the_document_and_nothing_twice() -> None:
    lookup = Lookup(pieces("red apple. ", "a sea. ", "red red apple apple. ", "one apple. "))
    assert lookup.best("red apple", 2) == [0, 2]
    assert lookup.best("red apple", 2, {1, 2, 3}) == [2, 3]
    assert lookup.best("the of", 2) == []


def test_a_segment_is_as_good_as_its_best_passage() -> None:
    long = FILLER * 60
    lookup = Lookup(
        pieces("A compass. " + "compass and sextant and chart. " * 200, f"{long} The red compass of Anna. {long}")
    )
    assert lookup.best("red compass of Anna", 1) == [1]


def test_a_document_without_words() -> None:
    assert Lookup([Segment(0, 3, "...", 3)]).best("why", 1) == []
    assert Lookup([]).best("why", 1) == []
