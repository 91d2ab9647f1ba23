from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from memagent import Completion, MemoryAgent, Request, ScriptedChat, Watch
from memagent.bench.methods import METHODS, Job
from memagent.core.tokenizer import ByteTokenizer, EstimatedTokenizer, Tokenizer
from memagent.errors import WindowOverflow
from memagent.models.chat import OnText
from memagent.tasks.example import Example

SENTENCES = [f"Sentence {number} tells of the {number * number} boats." for number in range(2000)]


def prompt(reader: str, document: str, question: str = "How many boats?", **options: object) -> str:
    """Return the prompt that the model is shown."""
    tokenizer: Tokenizer = options.pop("tokenizer", ByteTokenizer())  # type: ignore[assignment]
    chat = ScriptedChat(lambda request: "", tokenizer=tokenizer, **options)  # type: ignore[arg-type]
    template = "Read: {context}\n" + question
    example = Example(document, question, ("4",), (), template, 0)
    agent = MemoryAgent(chat, citations=False)
    asyncio.run(METHODS[reader](Job(example, agent, tokenizer, 50, 600, Path("unused"), Watch())))
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


def test_where_the_estimate_was_too_low_the_prompt_is_cut_until_the_model_takes_it() -> None:
    """The model counts twice the estimated tokens, as with uuids."""
    real, refused = EstimatedTokenizer(1.5), []

    class Server(ScriptedChat):
        async def complete(self, request: Request, on_text: OnText | None = None) -> Completion:
            size = len(real.encode(request.messages[0].content))
            if size + request.max_tokens > 5000:
                refused.append(size)
                raise WindowOverflow("Too long.")
            return await super().complete(request, on_text)

    estimate = EstimatedTokenizer(learns=False)
    chat = Server(lambda request: "", tokenizer=estimate, window=5000)
    example = Example(" ".join(SENTENCES), "?", ("4",), (), "Read: {context}", 0)
    asyncio.run(METHODS["truncate"](Job(example, MemoryAgent(chat), estimate, 50, 600, Path("unused"), Watch())))
    assert len(refused) >= 2
    [request] = chat.requests
    assert 3500 < len(real.encode(request.messages[0].content)) <= 4950


def test_at_least_one_passage_is_taken() -> None:
    document = " ".join(SENTENCES)
    chat = ScriptedChat(lambda request: "")
    example = Example(document, "Who has 3249 boats?", ("4",), (), "Read: {context}", 0)
    asyncio.run(METHODS["retrieve"](Job(example, MemoryAgent(chat), ByteTokenizer(), 50, 1, Path("unused"), Watch())))
    assert "Sentence 57 tells of the 3249 boats." in chat.requests[0].messages[0].content


def test_a_line_that_a_border_cuts_stands_whole_in_another_passage() -> None:
    lines = [
        f"One of the special magic uuids for {number:08d}-key is: {number * 7:08d}-value." for number in range(400)
    ]
    for number in range(0, 400, 13):
        shown = prompt("retrieve", "\n".join(lines), f"Instruction.\nWhat is for {number:08d}-key?")
        assert lines[number] in shown


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


def test_a_question_of_several_lines_is_looked_for_whole() -> None:
    document = " ".join([*SENTENCES[:500], "The keeper hid the compass.", *SENTENCES[500:]])
    question = "Who hid the compass?\nAnswer in a word."
    chat = ScriptedChat(lambda request: "", keep=True)
    example = Example(document, question, ("4",), (), "Read: {context}", 0, question)
    asyncio.run(METHODS["retrieve"](Job(example, MemoryAgent(chat), ByteTokenizer(), 50, 300, Path("unused"), Watch())))
    assert "The keeper hid the compass." in chat.requests[0].messages[0].content


def test_of_an_instruction_only_the_question_is_looked_for() -> None:
    document = " ".join([*SENTENCES[:500], "The keeper hid the compass.", "Memorize it. I will quiz you afterwards."])
    shown = prompt("retrieve", document, "Memorize it. I will quiz you afterwards.\nWho hid the compass?")
    assert "The keeper hid the compass." in shown
    assert "I will quiz you afterwards. " not in shown.split("The keeper")[0]
