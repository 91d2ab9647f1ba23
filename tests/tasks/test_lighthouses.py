from __future__ import annotations

import pytest

from memagent.tasks.lighthouses import is_right, make_demo


def test_the_same_seed_gives_the_same_document() -> None:
    assert make_demo(5000, 3) == make_demo(5000, 3)
    assert make_demo(5000, 3).document != make_demo(5000, 4).document


@pytest.mark.parametrize("characters", [1000, 50_000])
def test_the_document_has_its_length_and_its_facts(characters: int) -> None:
    example = make_demo(characters, seed=1)
    assert characters <= len(example.document) <= characters * 1.1 + 400
    sentences = [line for line in example.document.replace("\n\n", " ").split(".") if "keeper of" in line]
    assert len(sentences) == 4
    asked = example.question.removeprefix("What did ").removesuffix(" hide?").lower()
    [fact] = [sentence for sentence in sentences if asked in sentence.lower()]
    assert f"hid the {example.answer} in the" in fact


def test_facts_lie_in_different_stretches() -> None:
    document = make_demo(40_000, seed=2).document
    places = [place for place in range(len(document)) if document.startswith("The keeper of", place)]
    assert [place * 4 // len(document) for place in places] == [0, 1, 2, 3]


def test_only_the_thing_asked_for_is_right() -> None:
    example = make_demo(1000)
    assert is_right(example.answer, f"It was the {example.answer.upper()}.")
    assert not is_right(example.answer, "The anchor.")
    assert not is_right(example.answer, "brass compass, silver flute, sealed letter, jade chessman")


def test_too_short_a_document_is_refused() -> None:
    with pytest.raises(ValueError, match="200 characters for each"):
        make_demo(100)
