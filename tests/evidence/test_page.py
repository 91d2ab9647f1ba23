"""The HTML page of a reading."""

import re
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st
from turns import finished, memorized

from memagent.core.records import Finish, Segment, Trace, Usage
from memagent.documents import Located
from memagent.evidence.citations import Citation, cite
from memagent.evidence.page import page

EVIL = "</script><script>alert(1)</script><img src=x onerror='a'> & \"quoted\" $title ${answer}"
VOID = {"meta", "link", "br", "img", "input", "hr"}


class Checker(HTMLParser):
    """Collects tags, ids and links, and checks that every tag is closed."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.text += data


def parse(html: str) -> Checker:
    checker = Checker()
    checker.feed(html)
    checker.close()
    assert checker.open == []
    assert len(checker.ids) == len(set(checker.ids))
    assert all(link.startswith("#") and link[1:] in checker.ids for link in checker.links)
    return checker


def trace(
    *steps: tuple[str, str], question: str = "Where is Ubar?", answer: str = "Oman", finish: Finish = "stop"
) -> Trace:
    turns, start = [], 0
    for k, (text, memory) in enumerate(steps):
        segment = Segment(start, start + len(text), text, 9)
        turns.append(memorized(k, segment, memory, finish, Usage(1234, 56, 61.5)))
        start += len(text)
    return finished(question, turns, answer)


UBAR = ("Many places. The lost city of Ubar lies in Oman. Few go.", "- Ubar lies in Oman\n- Few go there")


def test_the_page_holds_the_question_the_answer_and_the_passage() -> None:
    reading = trace(("Nothing here.", ""), UBAR)
    html = page(reading, cite(reading), title="places.pdf", locate=lambda s, e: Located("places.pdf", s, e, 7))
    checker = parse(html)
    assert "Where is Ubar?" in checker.text
    assert '<p class="answer">Oman</p>' in html
    assert "Many places. <mark>The lost city of Ubar lies in Oman.</mark> Few go." in html
    assert "page 7" in checker.text
    assert "characters 26–61" in checker.text
    assert '<mark>Ubar lies in Oman</mark><sup><a href="#citation-1">1</a></sup>' in html
    assert [tag for tag in checker.tags if tag in ("h1", "h2", "h3")] == ["h1", "h2", "h3", "h2", "h2"]


def test_the_timeline_has_a_cell_and_a_row_a_segment() -> None:
    reading = trace(("Nothing here.", ""), UBAR, ("Nothing.", UBAR[1]), ("More.", UBAR[1] + "\n- More"))
    html = page(reading, cite(reading), title="places")
    checker = parse(html)
    assert checker.tags.count("details") == 4
    assert [f"turn-{k}" in checker.ids for k in range(6)] == [False, True, True, True, True, False]
    assert re.findall(r'class="(l\d[ a-z]*)" href', html) == ["l0", "l4 cited", "l0", "l2"]
    assert "<ins>\n- More</ins>" in html
    assert 'aria-label="Turn 4: 2 words added, 0 removed"' in html
    assert "1,234 → 56 tokens · 1 min 2 s" in checker.text
    assert "4 min 6 s" in checker.text
    assert "cut by the limit" not in checker.text
    assert "cut by the limit" in page(trace(UBAR, finish="length"), [], title="places")


def test_everything_from_outside_is_escaped() -> None:
    plain = page(trace(UBAR), cite(trace(UBAR)), title="t")
    reading = trace((f"{EVIL} Ubar lies in Oman.", f"{EVIL} Ubar lies in Oman."), question=EVIL, answer=EVIL)
    text = f"{EVIL} Ubar lies in Oman."
    citation = Citation(0, len(text), text, 0, 1.0, EVIL)
    html = page(reading, [citation], title=EVIL, locate=lambda s, e: Located(EVIL, s, e))
    assert parse(html).tags.count("script") == parse(plain).tags.count("script") == 1
    assert "img" not in parse(html).tags
    assert (
        parse(html).text.count(EVIL) == 10
    )  # title twice, question, answer, fact, quote, where, where, memory, change


def test_the_page_asks_for_nothing_from_the_network() -> None:
    html = page(trace(UBAR), cite(trace(UBAR)), title="t")
    assert "default-src 'none'" in html
    assert not re.search(r"https?://|@import|url\(|src=", html)


def test_a_page_without_answer_memory_or_citations() -> None:
    assert "There is no answer yet" in page(Trace("?", ()), [], title="t")
    html = page(trace(("Nothing.", "")), [], title="t", answer="  ")
    parse(html)
    for note in ("No passage was found", "The memory is empty.", "(an empty answer)", "The memory stayed empty."):
        assert note in html


def test_the_answer_shown_may_be_the_callers() -> None:
    html = page(trace(UBAR, answer=r"\boxed{Oman}"), [], title="t", answer="Oman")
    assert '<p class="answer">Oman</p>' in html
    assert "boxed" not in html


def test_seven_hundred_turns_stay_one_page() -> None:
    memory = "\n".join(f"- Fact {i} of a long memory, said in some words" for i in range(80))
    reading = trace(*((f"Segment {k}. " * 300, memory.replace(f"Fact {k % 80} ", f"Thing {k} ")) for k in range(700)))
    html = page(reading, [], title="t")
    assert len(html) < 1_500_000
    assert parse(html).tags.count("details") == 700


@given(st.text(), st.text(), st.text(min_size=1), st.text())
def test_any_text_gives_a_well_formed_page(question: str, answer: str, segment: str, memory: str) -> None:
    reading = trace((segment, memory), (segment, segment), question=question, answer=answer)
    assert parse(page(reading, cite(reading), title=memory)).tags.count("details") == 2
