"""Split a long conversation into a question and documents."""

from __future__ import annotations

import pytest

from memagent.errors import UsageError
from memagent.serve.splitting import Part, Problem, Said, split, without
from memagent.tasks.templates import CWE, FWE, NIAH, VT

PROSE = "The sea was grey that morning, and nobody spoke of it.\n" * 200


def fits(text: str, tokens: int) -> bool:
    return len(text.split()) <= tokens


def said(role: str, text: str, *files: str) -> Said:
    return Said(role, (Part(text), *(Part(file_id=file) for file in files)))


def divide(*messages: Said, question: str = "") -> Problem:
    return split(messages, 1000, fits, question)


def test_a_short_last_message_is_the_question() -> None:
    found = divide(said("user", PROSE), said("assistant", "I see."), said("user", "Who spoke?"))
    assert found.question == "Who spoke?"
    assert found.texts == (("conversation", f"user: {PROSE}\n\nassistant: I see."),)


def test_a_single_earlier_message_is_read_as_it_is() -> None:
    assert divide(said("user", PROSE), said("user", "Who?")).texts == (("message", PROSE),)


def test_files_are_documents_wherever_they_are() -> None:
    found = divide(said("user", "Here.", "file-1"), said("user", "And this?", "file-2"))
    assert [part.file_id for part in found.files] == ["file-1", "file-2"]
    assert (found.question, found.texts) == ("And this?", (("message", "Here."),))


@pytest.mark.parametrize(
    ("template", "fields", "question"),
    [
        (
            NIAH,
            {"type_needle_v": "numbers", "query": "x"},
            "Some special magic numbers are hidden within the following text. Make sure to memorize it. I will quiz "
            "you about the numbers afterwards.\nWhat are all the special magic numbers for x mentioned in the provided "
            "text?",
        ),
        (
            VT,
            {"query": "7"},
            "Memorize and track the chain(s) of variable assignment hidden in the following text.\n"
            "Question: Find all variables that are assigned the value 7 in the text above.",
        ),
        (
            CWE,
            {},
            "Below is a numbered list of words. In these words, some appear more often than others. Memorize the ones "
            "that appear most often.\nQuestion: What are the 10 most common words in the above list?",
        ),
    ],
)
def test_rulers_questions_are_the_ends_of_one_message(template: str, fields: dict[str, str], question: str) -> None:
    text = template.format(context=PROSE, **fields)
    found = divide(said("user", text))
    assert found == Problem(question, (("message", text),), ())


def test_a_first_line_that_is_too_long_counts_with_its_first_words() -> None:
    text = FWE.format(context="abc def ...." * 500)
    first, last = divide(said("user", text)).question.split("\n")
    assert first.startswith("Read the following coded text and track the frequency of each coded word. Find the three")
    assert len(first) <= 400
    assert last == text.rsplit("\n", 1)[1]


def test_a_text_without_line_breaks_counts_with_both_ends() -> None:
    text = "Who spoke of the sea? " + "The sea was grey. " * 2000 + "Answer in one word."
    first, last = divide(said("user", text)).question.split("\n")
    assert first.startswith("Who spoke of the sea?")
    assert last.endswith("Answer in one word.")


def test_a_text_without_spaces_is_cut_until_it_fits() -> None:
    def few(text: str, tokens: int) -> bool:
        return len(text) <= tokens

    found = split([said("user", "海" * 5000)], 200, few)
    assert found.question == "海" * 50


def test_short_rules_go_before_the_question_and_long_ones_are_read() -> None:
    assert divide(said("system", "Be brief."), said("user", PROSE), said("user", "Who?")).question == "Be brief.\nWho?"
    found = divide(said("system", PROSE), said("user", "Who?"))
    assert (found.question, found.texts) == ("Who?", (("message", PROSE),))


def test_the_assistants_last_message_is_continued() -> None:
    found = divide(said("user", PROSE), said("user", "Who?"), said("assistant", "It was"))
    assert (found.question, found.prefix) == ("Who?\nIt was", "It was")
    assert without("It was", "It was Ahab.") == "Ahab."
    assert without("It was", "Ahab.") == "Ahab."
    assert without("", "Ahab.") == "Ahab."


def test_a_question_that_is_said_outright_counts() -> None:
    found = divide(said("user", PROSE), said("user", "?"), question="Who?")
    assert (found.question, found.texts[0][1]) == ("Who?", f"user: {PROSE}\n\nuser: ?")


def test_a_conversation_without_a_question_is_refused() -> None:
    with pytest.raises(UsageError, match="no message with the role user"):
        divide(said("system", PROSE))
