from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memagent.core.scoring import (
    METRICS,
    abstains,
    after_sentence,
    boxed,
    boxed_all,
    boxed_items,
    exact_match,
    f1,
    final_answer,
    find_words,
    string_match_all,
    string_match_part,
    sub_em,
    sub_em_legacy,
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (r"So \boxed{42}.", "42"),
        (r"\boxed{1} no, \boxed{ \frac{1}{2} }", r"\frac{1}{2}"),
        (r"\boxed{}", ""),
        (r"\boxed{never closed", None),
        ("42", None),
    ],
)
def test_boxed_is_the_last_balanced_box(text: str, found: str | None) -> None:
    assert boxed(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Therefore, the answer is (Paris).", "Paris"),
        ("The answer is: 3.5 km.\nMore.", "3.5 km"),
        ("the answer is no. Therefore, the answer is yes", "yes"),
        ("the answer is ", None),
        ("Paris", None),
    ],
)
def test_the_answer_after_its_sentence(text: str, found: str | None) -> None:
    assert after_sentence(text) == found


def test_a_completion_that_keeps_to_no_format_is_the_answer() -> None:
    assert final_answer(" Paris \n") == "Paris"
    assert final_answer("Therefore, the answer is (Rome).", "sentence") == "Rome"
    assert final_answer(r"\boxed{Rome}", "boxed") == "Rome"


NORWAY = ["Norway"]


def test_every_metric_scores_a_right_answer_1_and_nothing_0() -> None:
    for name, metric in METRICS.items():
        right = "The text does not say" if name == "abstains" else "Norway"
        assert metric(rf"So it is \boxed{{{right}}}.", NORWAY) == 1, name
        assert metric(r"So it is \boxed{Sweden}.", NORWAY) == 0, name
        assert metric("", NORWAY) == 0, name
        assert metric(r"\boxed{}", NORWAY) == 0, name
        assert metric(r"\boxed{Norway}", []) == 0, name
        assert metric(r"\boxed{Norway}", ["", " "]) == 0, name


@pytest.mark.parametrize("name", METRICS)
@given(completion=st.text(), answers=st.lists(st.text(), max_size=3))
def test_scores_lie_between_0_and_1(name: str, completion: str, answers: list[str]) -> None:
    for text in (completion, rf"\boxed{{{completion}}}"):
        score = METRICS[name](text, answers)
        assert type(score) is float
        assert 0 <= score <= 1


@pytest.mark.parametrize("name", ["exact_match", "f1", "sub_em", "boxed", "boxed_all", "string_match_all"])
@given(gold=st.text(min_size=1).filter(lambda text: text.strip() == text and not re.search(r"[{}\\\x00-\x1f]", text)))
def test_a_gold_answer_itself_is_right(name: str, gold: str) -> None:
    assert METRICS[name](rf"\boxed{{{gold}}}", [gold, "something else"][: 1 if name.endswith("_all") else 2]) == 1


def test_string_matches_look_at_the_whole_completion_in_any_case() -> None:
    completion = "\n First ABC-1,\tthen def2; not \\boxed{xyz}\x00"
    assert string_match_all(completion, ["abc-1", "DEF2", "ghi", "xyz"]) == 0.75
    assert string_match_part(completion, ["ghi", "def2"]) == 1
    assert string_match_part(completion, ["ghi"]) == 0
    assert string_match_part("12345678", ["234567"]) == 1  # RULER looks for a substring, not a word
    assert string_match_all("a\x07b", ["a\nb"]) == 1


@pytest.mark.parametrize(
    ("answer", "gold", "score"),
    [
        ("the  Eiffel-Tower!", "Eiffel Tower", 0),  # punctuation is removed without leaving a space
        ("The Eiffel Tower.", "eiffel tower", 1),
        ("1,984", "1984", 1),
        ("Cafe\u0301", "Café", 0),  # no Unicode folding in the official definition
        ("the", "The The", 0),
        ("the the", "The The", 1),
        ("!", "!!!", 0),
        ("!!!", "!!!", 1),
    ],
)
def test_exact_match_is_squads(answer: str, gold: str, score: float) -> None:
    assert exact_match(rf"\boxed{{{answer}}}", ["something else", gold]) == score


def test_f1_is_hotpotqas() -> None:
    assert f1(r"\boxed{the town of Vik in Norway}", ["Vik, Norway"]) == pytest.approx(2 * (2 / 5) * 1 / (2 / 5 + 1))
    assert f1("Vik Vik", ["Vik"]) == pytest.approx(2 / 3)  # a word counts as often as it stands in both texts
    assert f1("Vik", ["Oslo", "Vik i Sogn"]) == pytest.approx(1 / 2)
    assert f1("yes it is", ["yes"]) == 0
    assert f1("no", ["no date"]) == 0
    assert f1("Yes.", ["yes"]) == 1


@pytest.mark.parametrize(
    ("answer", "gold", "strict", "legacy"),
    [
        ("in Oslo, Norway", "Norway", 1, 1),
        ("“Norway”", "Norway", 1, 1),
        ("the year 1984", "1984", 1, 1),
        # containment in either direction, character by character
        ("no", "Norway", 0, 1),
        ("Norway", "no", 0, 1),
        ("e", "yes", 0, 1),
        ("19", "1984", 0, 1),
        ("1984", "19", 0, 1),
        ("The", "Norway", 0, 1),
        ("Oslo", "Oslo, Norway", 0, 1),
        ("Sweden", "Norway", 0, 0),
        # "yes" and "no" also stand in wrong answers
        ("No, he was a Dane", "no", 1, 1),
        ("**Yes**. Both are", "yes", 1, 1),
        ("No date is given", "no", 0, 1),
        ("Nobody knows; no date is given", "no", 0, 1),
        # gold answers that normalise to nothing
        ("Sweden", "The The", 0, 1),
        ("The The", "The The", 1, 1),
        ("The The, of London", "The The", 1, 1),
        ("a man", "A", 0, 1),
        ("A. A man", "A", 1, 1),
    ],
)
def test_strict_and_legacy_sub_em(answer: str, gold: str, strict: float, legacy: float) -> None:
    assert sub_em(rf"\boxed{{{answer}}}", [gold]) == strict
    assert sub_em_legacy(rf"\boxed{{{answer}}}", [gold]) == legacy


def test_sub_em_takes_the_best_of_the_gold_answers() -> None:
    assert sub_em("It was Oslo.", ["Bergen", "Oslo"]) == sub_em_legacy("It was Oslo.", ["Bergen", "Oslo"]) == 1


@pytest.mark.parametrize(
    ("content", "gold", "score"),
    [
        ("1,984", "1984", 1),
        ("3.0", "3", 1),
        (".50", "0.5", 1),
        ("007", "7", 1),
        (r"\$1{,}", "1", 1),
        ("-5", "5", 0),
        ("-0.0", "0", 1),
        ("3.5", "35", 0),
        ("3.5 km", "35 km", 0),
        ("1,984.50 kg", "1984.5 KG", 1),
        ("1984-85", "1984–85", 1),
        ("12345678901234567890123456789012345", "12345678901234567890123456789012346", 0),
        ("1.2.3", "1.2.30", 0),
        ("U.S.", "US", 1),
        ("O’Brien", "O'Brien", 1),
        ("Jean-Luc", "Jean Luc", 1),
        (r"\text{ the Café}", "Cafe\u0301", 1),
        (r"\mathrm{Oslo}", "Oslo", 1),
        ("Oslo, Norway", "Oslo", 0),
        ("the the", "The The", 1),
        ("the", "The The", 0),
    ],
)
def test_boxed_asks_for_an_equivalent_answer(content: str, gold: str, score: float) -> None:
    assert METRICS["boxed"](rf"Thus \boxed{{{content}}}", ["something else", gold]) == score


def test_boxed_looks_only_into_the_box() -> None:
    for name in ("boxed", "boxed_all"):
        assert METRICS[name]("Norway", NORWAY) == 0
        assert METRICS[name](r"Norway, that is \boxed{Sweden}", NORWAY) == 0


def test_boxed_all_is_the_fraction_of_items_in_the_box() -> None:
    assert boxed_all(r"\boxed{1234567,2345678; and 34}", ["1234567", "2345678", "3456789", "3"]) == 0.5
    assert boxed_all(r"\boxed{3.5, ABC}", ["5", "abc", "3.50", "-3.5"]) == 0.5


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        ("1984, the U.S.", 1),
        ("US, 1,984", 1),
        ("US", 2 / 3),
        ("US, US, US", 2 / 3),
        ("US, 1984, Peru, Chile", 2 / 3),
        ("US 1984", 0),
        ("US. The text does not say", 0),
        ("", 0),
    ],
)
def test_boxed_items_does_not_reward_listing_everything(answer: str, score: float) -> None:
    assert boxed_items(rf"\boxed{{{answer}}}", ["US", "1984"]) == pytest.approx(score)
    assert boxed_items(answer, ["US", "1984"]) == 0


@pytest.mark.parametrize(
    ("completion", "score"),
    [
        (r"\boxed{The text does not say}", 1),
        ("The answer is not mentioned in the documents.", 1),
        ("It doesn't say who.", 1),
        ("This cannot be determined.", 1),
        (r"The text does not say. \boxed{Paris}", 0),
        ("No", 0),
        ("Not Paris, but Rome, says he", 0),
        ("", 0),
    ],
)
def test_abstaining_is_saying_so_in_the_final_answer(completion: str, score: float) -> None:
    assert abstains(completion, ["anything"]) == score


@pytest.mark.parametrize(
    ("text", "words", "found"),
    [
        ("in 1984", "19", False),
        ("the café", "caf", False),
        ("首都是巴黎这座城市", "巴黎", True),
        ("東京タワー", "東京", True),
        ("GPT模型", "GPT", True),
        ("it is NEW\n york.", "New York", True),
        ("Norway", "no", False),
    ],
)
def test_whole_words_in_any_script(text: str, words: str, found: bool) -> None:
    assert (find_words(text, words) is not None) is found


def test_answers_in_chinese_are_scored() -> None:
    assert METRICS["sub_em"]("\\boxed{首都是巴黎}", ["巴黎"]) == 1
    assert METRICS["sub_em"]("\\boxed{首都是罗马}", ["巴黎"]) == 0
