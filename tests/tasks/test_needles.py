from __future__ import annotations

from collections import Counter

import pytest
from reader import UUID, asked, needles

from memagent.core.tokenizer import ByteTokenizer, count
from memagent.tasks.example import Length
from memagent.tasks.haystacks import DEPTHS
from memagent.tasks.lighthouses import make_demo
from memagent.tasks.needles import NeedleTask
from memagent.tasks.templates import NOISE

PROSE = " ".join(make_demo(60_000).document.split())
SEEDS = 200
LENGTH = Length(4096)

# task; needles of a queried key; keys and values in the question's needles; kinds
TASKS = [
    (NeedleTask("niah_single_1", "noise"), 1, 1, "words", "numbers"),
    (NeedleTask("niah_single_2", "prose", prose=PROSE), 1, 1, "words", "numbers"),
    (NeedleTask("niah_single_3", "prose", value_kind="uuids", prose=PROSE), 1, 1, "words", "uuids"),
    (NeedleTask("niah_multikey_1", "prose", keys=4, prose=PROSE), 4, 1, "words", "numbers"),
    (NeedleTask("niah_multikey_2", "needles"), None, 1, "words", "numbers"),
    (NeedleTask("niah_multikey_3", "needles", "uuids", "uuids"), None, 1, "uuids", "uuids"),
    (NeedleTask("niah_multivalue", "prose", values=4, prose=PROSE), 4, 4, "words", "numbers"),
    (NeedleTask("niah_multiquery", "prose", keys=4, queries=4, prose=PROSE), 4, 4, "words", "numbers"),
]


@pytest.mark.parametrize(
    ("task", "hidden", "answers", "key_kind", "value_kind"), TASKS, ids=lambda each: getattr(each, "name", "")
)
def test_an_independent_reader_counts_what_ruler_asks_for(
    task: NeedleTask, hidden: int | None, answers: int, key_kind: str, value_kind: str
) -> None:
    for seed in range(SEEDS):
        example = task.example(LENGTH, 0, seed, ByteTokenizer())
        found = needles(example.document)
        keys = asked(example.question)
        right = [value for _, key, value in found if key in keys]
        if hidden:
            assert len(found) == hidden
        else:  # every line is a needle, except the last, which may break off
            *lines, last = example.document.split("\n")
            assert len(found) - len(lines) == len(needles(last))
            assert needles(last) or ("One of the special magic".startswith(last[:24]) and len(last.split()) < 10)
        assert sorted(right) == sorted(example.answers)
        assert len(set(right)) == len(right) == answers
        assert Counter(key for _, key, _ in found if key in keys) == {key: answers // len(keys) for key in keys}
        assert {kind for kind, _, _ in found} == {value_kind}
        for _, key, value in found:
            assert bool(UUID.fullmatch(key)) == (key_kind == "uuids")
            assert UUID.fullmatch(value) if value_kind == "uuids" else len(value) == 7 and value.isdigit()
        for fact in example.facts:
            assert example.document[fact.start : fact.end] == fact.text
            assert fact.key in fact.text
        assert 0.99 * LENGTH.value <= example.tokens <= LENGTH.value


def test_the_singular_and_the_plural_of_the_template() -> None:
    one = TASKS[0][0].example(LENGTH, 0, 1, ByteTokenizer())
    assert one.question.startswith("A special magic number is hidden within the following text.")
    assert "I will quiz you about the number afterwards.\nWhat is the special magic number for" in one.question
    four = TASKS[7][0].example(LENGTH, 0, 1, ByteTokenizer())
    assert four.question.startswith("Some special magic numbers are hidden within the following text.")
    assert four.question.count(", ") == 3
    assert ", and " in four.question
    values = TASKS[6][0].example(LENGTH, 0, 1, ByteTokenizer())
    assert "What are all the special magic numbers for" in values.question


def test_the_whole_prompt_is_the_template_around_the_document() -> None:
    example = TASKS[0][0].example(LENGTH, 0, 1, ByteTokenizer())
    before, after = example.template.split("{context}")
    assert example.prompt() == before + example.document + after
    assert example.prompt("cut") == before + "cut" + after
    [key] = asked(example.question)
    prefix = f" The special magic number for {key} mentioned in the provided text is"
    assert example.question == before + after.removeprefix("\n").removesuffix(prefix)


def test_the_length_counts_prompt_prefix_and_the_tokens_to_generate() -> None:
    example = TASKS[0][0].example(LENGTH, 0, 1, ByteTokenizer())
    key = asked(example.question)[0]
    assert example.prompt().endswith(f"text? The special magic number for {key} mentioned in the provided text is")
    assert example.tokens == count(ByteTokenizer(), example.prompt()) + 128


def test_noise_is_rulers_lines_but_for_the_last() -> None:
    example = TASKS[0][0].example(LENGTH, 0, 3, ByteTokenizer())
    lines = [line for line in example.document.split("\n") if "special magic" not in line]
    assert set(lines[:-1]) == {NOISE}
    assert NOISE.startswith(lines[-1])


def test_distractors_share_no_key_and_no_value_with_the_needle() -> None:
    task = NeedleTask("small", "needles")
    for seed in range(20):
        example = task.example(LENGTH, 0, seed, ByteTokenizer())
        found = needles(example.document)
        [key] = asked(example.question)
        assert [value for _, each, value in found if each == key] == list(example.answers)
        assert [each for _, each, value in found if value == example.answers[0]] == [key]


@pytest.mark.parametrize("task", [TASKS[0][0], TASKS[1][0], TASKS[4][0]], ids=lambda task: task.name)
def test_needles_stand_all_over_the_documents(task: NeedleTask) -> None:
    places = []
    for number in range(SEEDS):
        example = task.example(LENGTH, number, 42, ByteTokenizer())
        places.append(example.facts[0].start / len(example.document))
    quarters = Counter(min(int(4 * place), 3) for place in places)
    assert min(quarters.values()) >= SEEDS / 4 * 0.6


def test_prose_begins_elsewhere_in_each_example_and_needles_between_sentences() -> None:
    examples = [TASKS[1][0].example(LENGTH, number, 42, ByteTokenizer()) for number in range(10)]
    without = [example.document.replace(example.facts[0].text + " ", "") for example in examples]
    assert len({text[:40] for text in without}) == 10
    for example, text in zip(examples, without, strict=True):
        start = example.facts[0].start
        assert (
            start == 0
            or example.document[:start].rstrip()[-1] in ".!?"
            or start + len(example.facts[0].text) == len(example.document)
        )
        assert text.removesuffix(" " + example.facts[0].text) in PROSE + " " + PROSE


@pytest.mark.parametrize(
    "prose",
    ["他在河边走着。天色已经晚了。" * 3000, "\n".join(["他在河边走着天色已经晚了"] * 3000), "word and word " * 6000],
    ids=["Chinese", "Chinese without stops", "English without stops"],
)
def test_needles_stand_all_over_any_prose(prose: str) -> None:
    task = NeedleTask("niah_multiquery", "prose", keys=4, queries=4, prose=" ".join(prose.split()))
    examples = [task.example(Length(12_000), number, 1, ByteTokenizer()) for number in range(30)]
    places = [fact.start / len(example.document) for example in examples for fact in example.facts]
    assert min(Counter(min(int(4 * place), 3) for place in places).values()) >= len(places) / 4 * 0.6
    assert all(0.99 * 12_000 <= example.tokens <= 12_000 for example in examples)


def test_depths_are_rulers() -> None:
    assert DEPTHS[:5] == [0, 3, 5, 8, 10]
    assert DEPTHS[-1] == 100
    assert len(DEPTHS) == 40


def test_the_same_numbers_give_the_same_example_and_others_another() -> None:
    task = TASKS[7][0]
    first = task.example(LENGTH, 5, 42, ByteTokenizer())
    assert first == task.example(LENGTH, 5, 42, ByteTokenizer())
    others = [task.example(LENGTH, 6, 42, ByteTokenizer()), task.example(LENGTH, 5, 43, ByteTokenizer())]
    assert all(first.document != other.document and first.answers != other.answers for other in others)
