from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from memagent import MemoryAgent, ScriptedChat, Watch
from memagent.bench.readers import READERS, Job
from memagent.tasks.example import Example
from memagent.tokenizer import ByteTokenizer, EstimatedTokenizer, Tokenizer

SENTENCES = [f"Sentence {number} tells of the {number * number} boats." for number in range(2000)]


def prompt(reader: str, document: str, question: str = "How many boats?", **options: object) -> str:
    """What the model is shown."""
    tokenizer: Tokenizer = options.pop("tokenizer", ByteTokenizer())  # type: ignore[assignment]
    chat = ScriptedChat(lambda request: "", tokenizer=tokenizer, **options)  # type: ignore[arg-type]
    template = "Read: {context}\n" + question
    example = Example(document, question, ("4",), (), template, 0)
    agent = MemoryAgent(chat, citations=False)
    asyncio.run(READERS[reader](Job(example, agent, 50, 600, Path("unused"), Watch())))
    [request] = chat.requests
    return request.messages[0].content


@pytest.mark.parametrize("window", [120, 200, 1000, 5000, 50_000])
@pytest.mark.parametrize("tokenizer", [ByteTokenizer(), EstimatedTokenizer()], ids=["bytes", "estimate"])
def test_a_truncated_prompt_fits_the_window_and_fills_it(window: int, tokenizer: Tokenizer) -> None:
    document = " ".join(SENTENCES * 3)
    shown = prompt("truncate", document, window=window, tokenizer=tokenizer)
    size = len(tokenizer.encode(shown))
    assert size + 50 <= window
    assert size + 50 > 0.9 * window - 30
    head, tail = shown.removeprefix("Read: ").removesuffix("\nHow many boats?").split("\n…\n")
    assert document.startswith(head)
    assert document.endswith(tail)
    assert abs(len(head) - len(tail)) <= 8


def test_what_fits_the_window_is_not_truncated() -> None:
    assert prompt("truncate", "A boat. " * 20, window=1000) == "Read: " + "A boat. " * 20 + "\nHow many boats?"


def test_where_the_window_holds_the_question_alone_the_document_is_left_out() -> None:
    assert prompt("truncate", "A boat. " * 20, window=75) == "Read: \nHow many boats?"


def test_passages_are_those_with_the_questions_words_in_the_documents_order() -> None:
    document = "\n\n".join(
        [*SENTENCES[:500], "The keeper hid the compass.", *SENTENCES[500:], "He hid a compass again."]
    )
    shown = prompt("retrieve", document, "Who hid the compass?")
    assert "The keeper hid the compass." in shown
    assert shown.index("The keeper hid") < shown.index("He hid a compass again.")
    assert len(shown) <= 600 + 100
    assert "\n…\n" in shown


@pytest.mark.parametrize("document", ["the of and a. " * 100, "x y z. " * 100, "你好世界。" * 200, "one"])
@pytest.mark.parametrize("question", ["the of?", "Zebra?", "?"])
def test_where_no_word_can_be_found_the_first_passages_are_taken(document: str, question: str) -> None:
    shown = prompt("retrieve", document, question)
    assert shown.removeprefix("Read: ")[:3] == document[:3]
