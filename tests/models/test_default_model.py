"""The default model answers a plain question on a real text, and says where the text does not answer."""

from __future__ import annotations

import pytest
from data import needs_default_model

from memagent import MemoryAgent, text_document
from memagent.tasks.wonderland import QUESTIONS, is_right, text


@needs_default_model
@pytest.mark.slow
@pytest.mark.engine
@pytest.mark.timeout(600)  # the weights may have to be converted first
def test_questions_on_a_chapter() -> None:
    chapter = text()[text().index("CHAPTER V.") :]
    _, smoking, brother = QUESTIONS
    with MemoryAgent("local") as agent, text_document(chapter) as document:
        named, unknown = agent.ask_many([smoking, brother], document)
    assert is_right(QUESTIONS[smoking], named.text)
    assert "hookah" in "".join(cited.quote for cited in named.citations)
    assert is_right(None, unknown.text)
