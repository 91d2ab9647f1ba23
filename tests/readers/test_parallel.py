"""All segments are read in one wave, with the same memory, and again if the memory does not answer the question."""

from __future__ import annotations

from keeper import FACTS, KEYS, QUESTION, perfect, pieces
from wanted import wanted

from memagent.core.budget import Budget
from memagent.core.prompts import NO_MEMORY, Prompts
from memagent.core.reading import Underway
from memagent.core.records import Completion, Request, Segment
from memagent.errors import WindowOverflow
from memagent.readers import READERS
from memagent.readers.choose import merge
from memagent.readers.parallel import ROUNDS

parallel, parallel_collect = READERS["parallel_gated"], READERS["parallel_collect"]

PIECES = pieces("Nothing here. ", f"{FACTS[0]} ", "Nor here. ", f"{FACTS[1]} ")


def complete(under: Underway, backwards: bool = False) -> list[str]:
    """Complete a wave as a perfect model does. Returns the kinds of its requests."""
    places = sorted(under.wanted, reverse=backwards)
    kinds = [request.kind for request in under.wave]
    for place in places:
        under.take(Completion(perfect(under.wanted[place])), place)
    return kinds


def test_one_wave_reads_everything_then_the_notes_are_merged_and_checked() -> None:
    under = Underway(parallel(QUESTION, PIECES, Budget(), Prompts()))
    assert [request.segment for request in under.wanted.values()] == PIECES
    assert {request.memory for request in under.wanted.values()} == {NO_MEMORY}
    assert complete(under) == ["memorize"] * 4
    assert "\n\n".join(FACTS) in wanted(under).messages[0].content  # only the notes of the two that had a fact
    assert [complete(under), complete(under), complete(under)] == [["merge"], ["check"], ["answer"]]
    assert under.memory == "\n".join(FACTS)
    assert under.answer == f"\\boxed{{{KEYS}}}"


def test_the_order_in_which_replies_arrive_does_not_matter() -> None:
    forwards, backwards = (Underway(parallel(QUESTION, PIECES, Budget(), Prompts())) for _ in range(2))
    complete(forwards)
    complete(backwards, backwards=True)
    assert wanted(forwards) == wanted(backwards)


def test_a_question_without_an_answer_is_given_up_when_a_round_finds_nothing_new() -> None:
    under = Underway(parallel(QUESTION, PIECES[:3], Budget(), Prompts()))
    kinds = [complete(under) for _ in range(4)]
    assert kinds == [["memorize"] * 3, ["check"], ["memorize"] * 3, ["answer"]]
    assert not under.wanted


def test_there_are_at_most_three_rounds() -> None:
    def eager(request: Request) -> str:
        return "NO" if request.kind == "check" else f"{request.memory}+"

    under = Underway(parallel("why", PIECES, Budget(), Prompts()))
    kinds = []
    while under.wanted:
        kinds.append(under.wave[0].kind)
        for place, request in list(under.wanted.items()):
            under.take(Completion(eager(request)), place)
    assert kinds == [*["memorize", "merge", "check"] * (ROUNDS - 1), "memorize", "merge", "answer"]


def test_a_segment_that_does_not_fit_is_halved_and_the_others_are_kept() -> None:
    under = Underway(parallel(QUESTION, PIECES, Budget(), Prompts()))
    for place, request in list(under.wanted.items()):
        if place == 1:
            under.overflow(WindowOverflow("too long"), place)
        else:
            under.take(Completion(perfect(request)), place)
    half = wanted(under).segment
    assert half is not None
    assert (half.start, half.whole) == (PIECES[1].start, (PIECES[1].start, PIECES[1].end))


def test_quotes_need_no_merging_and_the_check_is_the_answer() -> None:
    under = Underway(parallel_collect(QUESTION, PIECES, Budget(), Prompts()))
    assert complete(under) == ["memorize"] * 4
    assert complete(under) == ["memorize"] * 2  # a second look where something was found
    assert under.memory == "\n".join(FACTS)
    assert [complete(under), complete(under)] == [["try"], ["answer"]]
    assert under.answer == f"\\boxed{{{KEYS}}}"


def test_too_many_quotes_are_chosen_from_in_groups() -> None:
    lines = [f"The keeper of lighthouse {number} hides a key." for number in range(20)]
    budget = Budget(segment=150, memory=120)

    def choosy(request: Request) -> str:
        if request.segment:
            return "NONE" if request.segment.text.strip() in request.memory else f"- {request.segment.text}"
        return "1" if request.kind == "choose" else "\\boxed{17}"

    under = Underway(parallel_collect("which", pieces(*(f"{line}\n" for line in lines)), budget, Prompts()))
    waves = []
    while under.wanted:
        waves.append((under.wave[0].kind, len(under.wave)))
        for place, request in list(under.wanted.items()):
            under.take(Completion(choosy(request)), place)
    # A group has room for six lines, and the model keeps one line of each group.
    assert waves == [("memorize", 20), ("memorize", 20), ("choose", 4), ("choose", 1), ("try", 1), ("answer", 1)]
    assert under.memory == lines[0]


def test_quotes_that_do_not_fit_a_prompt_are_chosen_from_half_by_half_and_no_reply_is_lost() -> None:
    quotes = [f"The keeper of lighthouse {number} hides a key." for number in range(12)]
    like = Segment(0, 10, "x" * 10, 10)
    under = Underway(merge("which", "", ["\n".join(quotes)], like, Budget(segment=200, memory=130), Prompts()))
    asked = []
    while under.wanted:
        for place, request in list(under.wanted.items()):
            asked.append(request.memory)
            if request.memory.count("keeper") > 3 and "lighthouse 0 " in request.memory:
                under.overflow(WindowOverflow("too long"), place)
            else:
                under.take(Completion("1"), place)
    assert len(asked) == len(set(asked))  # nothing was asked twice
    assert set(under.answer.splitlines()) <= set(quotes)
    assert len("".join(under.answer.splitlines())) <= 130


def test_an_empty_document_is_answered_from_no_memory() -> None:
    under = Underway(parallel("why", [], Budget(), Prompts()))
    assert (wanted(under).kind, wanted(under).memory) == ("answer", NO_MEMORY)
