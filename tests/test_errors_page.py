from __future__ import annotations

from errors_page import MEANINGS, PAGE, page, sentences


def test_the_page_of_errors_is_the_programs() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "python tests/errors_page.py"


def test_every_status_has_its_sentences() -> None:
    found = sentences()
    assert found.keys() == MEANINGS.keys()
    texts = [text for rooms in found.values() for each in rooms.values() for text in each]
    assert len(texts) > 200
