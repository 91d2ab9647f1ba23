"""Examples of the question tasks, read back by a reader that shares no code with their writer."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from data import DATA, SMOLLM2, needs_smollm2

from memagent.core.records import Segment
from memagent.core.tokenizer import ByteTokenizer, EstimatedTokenizer, FileTokenizer, count
from memagent.errors import UsageError
from memagent.models.weights import find_weights
from memagent.tasks.example import Example, Fact, Length, Task, parse_length
from memagent.tasks.packing import Counts, document
from memagent.tasks.paragraphs import ParagraphTask
from memagent.tasks.questions import hqa, qa_1, qa_2

needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"no data at {DATA}")

BYTES = ByteTokenizer()
SQUAD, HOTPOT, WIKI = (
    DATA / "squad/dev-v1.1.jsonl.gz",
    DATA / "hotpotqa/dev.jsonl.gz",
    DATA / "wiki/paragraphs.jsonl.gz",
)


@cache
def task(name: str) -> ParagraphTask:
    return {"qa_1": lambda: qa_1(SQUAD), "qa_2": lambda: qa_2(HOTPOT), "hqa": lambda: hqa(HOTPOT, WIKI)}[name]()


@cache
def raw(path: Path) -> list[Any]:
    return [json.loads(line) for line in gzip.open(path, "rt", encoding="utf-8")]


@cache
def real_tokenizer() -> FileTokenizer:
    tokenizer = find_weights(SMOLLM2).tokenizer
    assert tokenizer is not None
    return tokenizer


@dataclass(frozen=True)
class Read:
    """The parts that an independent reader finds in a prompt."""

    documents: list[str]
    question: str


INSTRUCTION = (
    "Answer the question based on the given documents. Only give me the answer and do not output any other words."
)


def read(prompt: str) -> Read:
    found = re.fullmatch(
        rf"{re.escape(INSTRUCTION)}\n\nThe following are given documents\.\n\n(.*)\n\n{re.escape(INSTRUCTION)}"
        r"\n\nQuestion: (.*) Answer:",
        prompt,
        re.DOTALL,
    )
    assert found
    parts = re.split(r"(?:\A|\n\n)Document (\d+):\n", found[1])
    assert parts[0] == ""
    assert parts[1::2] == [str(number) for number in range(1, len(parts) // 2 + 1)]
    return Read(parts[2::2], found[2])


def hotpot_text(title: str, sentences: list[str]) -> str:
    return title + "\n" + "".join(sentences)


def hotpot_question(question: str) -> Any:
    (found,) = [row for row in raw(HOTPOT) if row["question"] == question]
    return found


def byte_tokens(example: Example) -> int:
    return len((example.prompt()).encode()) + 32


def within(example: Example, length: Length) -> bool:
    return 0.99 * length.value <= example.tokens <= length.value


@pytest.mark.slow
@needs_data
@pytest.mark.parametrize("name", ["qa_1", "qa_2", "hqa"])
def test_every_example_has_its_length_its_gold_and_no_paragraph_twice(name: str) -> None:
    length = parse_length("8k")
    for seed in range(200):
        example = task(name).example(length, seed % 7, seed, BYTES)
        found = read(example.prompt())
        assert example.tokens == byte_tokens(example)
        assert within(example, length)
        assert len(set(found.documents)) == len(found.documents) > 2
        {"qa_1": check_squad, "qa_2": check_own, "hqa": check_others}[name](example, found)


def check_squad(example: Example, found: Read) -> None:
    article = {
        (row["title"], row["context"]): [
            asked["answers"] for asked in row["qas"] if asked["question"] == found.question
        ]
        for row in raw(SQUAD)
    }
    gold = [(key, answers) for key, answers in article.items() if answers]
    # Two paragraphs may have the same question; take the one with these answers.
    ((title, context), _), *_ = [
        (key, answers) for key, answers in gold if any(tuple(dict.fromkeys(a)) == example.answers for a in answers)
    ]
    assert found.documents.count(context) == 1
    assert example.question == f"{INSTRUCTION}\n\nQuestion: {found.question}"
    of_article = {text for other, text in article if other == title}
    assert sum(text in of_article for text in found.documents) >= min(len(found.documents), len(of_article)) - 2
    (fact,) = example.facts
    sentence = example.document[fact.start : fact.end]
    assert fact.text == sentence == sentence.strip()
    assert sentence in context
    assert fact.key in example.answers
    assert fact.key in sentence


def check_hotpot(example: Example, found: Read) -> Any:
    asked = hotpot_question(found.question)
    assert example.answers == (asked["answer"],)
    context = dict(asked["context"])
    golden = {title for title, _ in asked["supporting_facts"]}
    for title in golden:
        assert found.documents.count(hotpot_text(title, context[title])) == 1
    sentences = {context[title][number].strip() for title, number in asked["supporting_facts"]}
    assert {example.document[fact.start : fact.end] for fact in example.facts} == sentences
    assert len(example.facts) == len(asked["supporting_facts"])
    for fact in example.facts:
        title = fact.text.removesuffix(": " + example.document[fact.start : fact.end])
        assert title in golden
        assert fact.key.casefold() in fact.text.casefold()
        # A memory that only repeats the question must not seem to hold the fact.
        named = re.search(rf"(?<!\w){re.escape(fact.key)}(?!\w)", asked["question"], re.IGNORECASE)
        assert not named or fact.key == title  # every word of the sentence is in the question
    return asked


def check_own(example: Example, found: Read) -> None:
    asked = check_hotpot(example, found)
    assert example.question == f"{INSTRUCTION}\n\nQuestion: {found.question}"
    own = {hotpot_text(*paragraph) for paragraph in asked["context"]}
    assert sum(text in own for text in found.documents) >= min(len(own), len(found.documents)) - 2


def check_others(example: Example, found: Read) -> None:
    asked = check_hotpot(example, found)
    assert example.question == found.question
    own = {hotpot_text(*paragraph) for paragraph in asked["context"]}
    assert sum(text in own for text in found.documents) >= min(len(own), len(found.documents) - 2)
    titles = {text.split("\n")[0] for text in found.documents if text not in own}
    assert titles.isdisjoint(title for title, _ in asked["context"])
    assert titles <= wiki_titles()


@cache
def wiki_titles() -> set[str]:
    return {row["title"] for row in raw(WIKI)}


@needs_data
def test_the_ten_paragraphs_of_a_question_come_before_others() -> None:
    for number in range(20):
        found = read(task("qa_2").example(parse_length("64k"), number, 3, BYTES).prompt())
        own = [hotpot_text(*paragraph) for paragraph in hotpot_question(found.question)["context"]]
        assert set(own) < set(found.documents)


@needs_data
@needs_smollm2
@pytest.mark.slow
@pytest.mark.parametrize("name", ["qa_1", "qa_2", "hqa"])
def test_lengths_are_met_in_tokens_of_the_real_tokenizer(name: str) -> None:
    tokenizer = real_tokenizer()
    for text, numbers in {"1k": 40, "2k": 40, "3000": 20, "4k": 20, "16k": 5, "128k": 2}.items():
        length = parse_length(text)
        for number in range(numbers):
            example = task(name).example(length, number, 42, tokenizer)
            assert example.tokens == len(tokenizer.encode(example.prompt())) + 32
            assert within(example, length), (text, number)


@needs_data
@needs_smollm2
def test_tokens_of_paragraphs_add_up_to_those_of_the_whole() -> None:
    """Tokens add up even if the tokenizer merges a full stop with the line ends after it."""
    texts = [row["title"] + "\n" + row["text"] for row in raw(WIKI)[:300]]
    for tokenizer in (real_tokenizer(), llama_like(texts), BYTES):
        counts = Counts(tokenizer, texts)
        parts = sum(counts.of(range(300))) + sum(counts.head(number) for number in range(1, 301))
        whole = document(texts)[0] + "\n\nAnswer"
        assert parts + count(tokenizer, "Answer") == count(tokenizer, whole)


def llama_like(texts: list[str]) -> FileTokenizer:
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    pattern = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
        r"|\s+(?!\S)|\s+"
    )
    split = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(False, use_regex=False)])
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=1000, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([document(texts)[0]], trainer)
    return FileTokenizer(tokenizer)


@needs_data
def test_an_estimating_tokenizer_is_met_too_and_asked_again_after_a_correction() -> None:
    tokenizer = EstimatedTokenizer()
    for _ in range(2):
        example = task("hqa").example(parse_length("8k"), 0, 1, tokenizer)
        assert within(example, parse_length("8k"))
        assert example.tokens == count(tokenizer, example.prompt()) + 32
        tokenizer.correct("x" * 500, 100)


@needs_data
def test_the_same_seed_gives_the_same_example_whatever_was_made_before() -> None:
    fresh = qa_2(HOTPOT)
    for number in (3, 0, 3):
        assert fresh.example(parse_length("8k"), number, 5, BYTES) == task("qa_2").example(
            parse_length("8k"), number, 5, BYTES
        )
    one, other = (task("qa_2").example(parse_length("8k"), 3, seed, BYTES) for seed in (5, 6))
    assert one.document != other.document


@needs_data
def test_the_questions_are_the_same_at_every_length_and_each_comes_once() -> None:
    made = task("hqa")
    questions = [made.example(parse_length("4p"), number, 9, BYTES).question for number in range(made.size)]
    assert sorted(questions) == sorted(row["question"] for row in raw(HOTPOT))
    assert questions != [row["question"] for row in raw(HOTPOT)]
    for number in (0, 17, 499):
        assert made.example(parse_length("16k"), number, 9, BYTES).question == questions[number]
        assert made.example(parse_length("9p"), number, 10, BYTES).question != questions[number]


@needs_data
@pytest.mark.parametrize("length", ["50p", "100p", "1600p", "25600p"])
def test_a_length_in_paragraphs_is_exactly_that_many(length: str) -> None:
    example = task("hqa").example(parse_length(length), 0, 1, BYTES)
    found = read(example.prompt())
    assert len(found.documents) == parse_length(length).value
    check_others(example, found)
    assert example.tokens == byte_tokens(example)


@needs_data
def test_the_paragraphs_of_the_answer_lie_anywhere() -> None:
    places = []
    for number in range(100):
        example = task("hqa").example(parse_length("50p"), number, 1, BYTES)
        places.append(min(fact.start for fact in example.facts) / len(example.document))
    # The lower of two random places from 0 to 1 is 1/3 on average, with a standard error of 0.024 here.
    assert 0.24 < fmean(places) < 0.43
    assert min(places) < 0.05
    assert max(places) > 0.7


@needs_data
def test_the_ideal_memory_holds_each_sentence_once_its_end_was_read() -> None:
    example = task("hqa").example(parse_length("50p"), 2, 1, BYTES)
    segments = [
        Segment(start, start + 4000, example.document[start : start + 4000], 1000)
        for start in range(0, len(example.document), 4000)
    ]
    memories = list(task("hqa").memories(example, iter(segments)))
    assert len(memories) == len(segments)
    for fact in example.facts:
        assert [fact.text in memory for memory in memories] == [fact.end <= segment.end for segment in segments]


# --- a golden example of each task, over data small enough to write here ----------------------------------------------

SMALL_SQUAD = [
    {
        "title": "Paris",
        "context": "Paris lies on the Seine. Dr. Haussmann rebuilt it from 1853 on. It was costly.",
        "qas": [{"question": "Who rebuilt Paris?", "answers": ["Dr. Haussmann", "Haussmann"]}],
    },
    {"title": "Paris", "context": "The Louvre is in Paris.", "qas": []},
]
SMALL_HOTPOT = [
    {
        "question": "Where was the author of Emma born?",
        "answer": "Steventon",
        "supporting_facts": [["Emma (novel)", 1], ["Jane Austen", 0], ["Jane Austen", 7]],
        "context": [
            ["Emma (novel)", ["It is a novel.", " Jane Austen wrote it. "]],
            ["Bath", ["Bath is a city."]],
            ["Jane Austen", ["She was born in Steventon."]],
        ],
    }
]
SMALL_WIKI = [{"title": "BATH", "text": "Barred."}, {"title": "Ulm", "text": "On the Danube."}]


def write(path: Path, rows: object) -> Path:
    assert isinstance(rows, list)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def orders(*texts: str) -> Iterator[str]:
    """Yield the documents in both orders."""
    yield f"Document 1:\n{texts[0]}\n\nDocument 2:\n{texts[1]}"
    yield f"Document 1:\n{texts[1]}\n\nDocument 2:\n{texts[0]}"


def golden_prompt(document: str, question: str) -> str:
    return (
        "Answer the question based on the given documents. Only give me the answer and do not output any other words."
        "\n\nThe following are given documents.\n\n" + document + "\n\n"
        "Answer the question based on the given documents. Only give me the answer and do not output any other words."
        "\n\nQuestion: " + question + " Answer:"
    )


def of_bytes(prompt: str) -> Length:
    return Length(len(prompt.encode()) + 32)


def test_a_golden_example_of_qa_1(tmp_path: Path) -> None:
    either = [
        golden_prompt(document, "Who rebuilt Paris?")
        for document in orders(
            "Paris lies on the Seine. Dr. Haussmann rebuilt it from 1853 on. It was costly.", "The Louvre is in Paris."
        )
    ]
    made: Task = qa_1(write(tmp_path / "s.jsonl", SMALL_SQUAD))
    assert (made.name, made.size, made.units, made.placed) == ("qa_1", 1, ("tokens", "paragraphs"), True)
    assert (made.answer_tokens, made.metrics[0]) == (32, "string_match_part")
    example = made.example(of_bytes(either[0]), 0, 1, BYTES)
    assert example.prompt() in either
    assert example.tokens == of_bytes(either[0]).value
    assert example.question == INSTRUCTION + "\n\nQuestion: Who rebuilt Paris?"
    assert example.answers == ("Dr. Haussmann", "Haussmann")
    sentence = "Dr. Haussmann rebuilt it from 1853 on."
    start = example.document.index(sentence)
    assert example.facts == (Fact(sentence, "Haussmann", start, start + len(sentence)),)


def test_a_golden_example_of_qa_2(tmp_path: Path) -> None:
    question = "Where was the author of Emma born?"
    novel, austen = "Emma (novel)\nIt is a novel. Jane Austen wrote it. ", "Jane Austen\nShe was born in Steventon."
    either = [golden_prompt(document, question) for document in orders(novel, austen)]
    made: Task = qa_2(write(tmp_path / "h.jsonl", SMALL_HOTPOT))
    example = made.example(of_bytes(either[0]), 0, 1, BYTES)
    assert example.prompt() in either
    assert example.answers == ("Steventon",)
    one, other = "Jane Austen wrote it.", "She was born in Steventon."
    first, second = example.document.index(one), example.document.index(other)
    assert example.facts == (
        Fact(f"Emma (novel): {one}", "Austen", first, first + len(one)),
        Fact(f"Jane Austen: {other}", "Steventon", second, second + len(other)),
    )
    three = Length(example.tokens + len("\n\nDocument 3:\nBath\nBath is a city."))
    assert "Bath\nBath is a city." in read(made.example(three, 0, 1, BYTES).prompt()).documents


def test_a_golden_example_of_hqa(tmp_path: Path) -> None:
    made = hqa(write(tmp_path / "h.jsonl", SMALL_HOTPOT), write(tmp_path / "w.jsonl", SMALL_WIKI))
    example = made.example(Length(4, "paragraphs"), 0, 1, BYTES)
    assert sorted(read(example.prompt()).documents) == [
        "Bath\nBath is a city.",
        "Emma (novel)\nIt is a novel. Jane Austen wrote it. ",
        "Jane Austen\nShe was born in Steventon.",
        "Ulm\nOn the Danube.",
    ]
    assert example.question == "Where was the author of Emma born?"
    assert made.metrics[0] == "sub_em"


def test_a_yes_or_no_is_no_key(tmp_path: Path) -> None:
    asked = {
        "question": "Is it?",
        "answer": "no",
        "supporting_facts": [["Ulm", 0]],
        "context": [["Ulm", ["There is no sea in Ulm."]]],
    }
    files = write(tmp_path / "h.jsonl", [asked]), write(tmp_path / "w.jsonl", SMALL_WIKI)
    (fact,) = hqa(*files).example(Length(1, "paragraphs"), 0, 1, BYTES).facts
    assert fact.key == "Ulm"


def test_what_cannot_be_is_said(tmp_path: Path) -> None:
    made = hqa(write(tmp_path / "h.jsonl", SMALL_HOTPOT), write(tmp_path / "w.jsonl", SMALL_WIKI))
    most = made.example(Length(4, "paragraphs"), 0, 1, BYTES).tokens

    def refused(length: str, number: int = 0) -> str:
        with pytest.raises(UsageError) as caught:
            made.example(parse_length(length), number, 1, BYTES)
        return str(caught.value).replace(str(tmp_path), "")

    assert refused("4m") == (
        f"hqa cannot be 4m long: the paragraphs in /w.jsonl give at most {most} tokens; give more with --paragraphs, "
        "or a smaller length."
    )
    assert "hqa cannot be 5p long: the paragraphs in /w.jsonl give at most 4 paragraphs" in refused("5p")
    assert "hqa cannot be 1p long: the answer rests on 2 paragraphs; give a larger length." in refused("1p")
    assert "hqa cannot be 300 long: no choice of paragraphs" in refused("300")
    assert f"hqa cannot be {most - 10} long: no choice of paragraphs makes example 0 that" in refused(str(most - 10))
    assert "has 1 questions, too few for example 1" in refused("2p", 1)
    with pytest.raises(UsageError, match="hqa takes a length in tokens or paragraphs, not own"):
        made.example(Length(0, "own"), 0, 1, BYTES)


def test_a_question_that_looks_like_a_template_is_no_template(tmp_path: Path) -> None:
    asked = {**SMALL_HOTPOT[0], "question": "What is {context}, and {query}?"}
    files = write(tmp_path / "h.jsonl", [asked]), write(tmp_path / "w.jsonl", SMALL_WIKI)
    example = hqa(*files).example(Length(2, "paragraphs"), 0, 1, BYTES)
    assert read(example.prompt()).question == "What is {context}, and {query}?"
