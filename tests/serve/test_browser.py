"""The page in a real browser: Debian's Chromium (apt-get install chromium), driven by Playwright."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import keeper
import pytest
from axe_playwright_python.sync_playwright import Axe
from make_documents import pdf
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright
from served import Served, SlowChat, serving

from memagent.serve.guard import Rules
from memagent.serve.server import Doors

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
LIGHT: Literal["light"] = "light"
DARK: Literal["dark"] = "dark"
KEY = "a-long-key-0123456789"
PAGES = [f"{keeper.FILLER}\n{keeper.fact(number)}" for number in range(60)]

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """Yield a page that must not log errors, except for refused requests. Parameters: width and color scheme."""
    width, scheme = getattr(request, "param", (1300, LIGHT))
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce"
    )
    found, errors = context.new_page(), list[str]()
    found.set_default_timeout(10_000)

    def on_console(message: ConsoleMessage) -> None:
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            errors.append(message.text)

    found.on("console", on_console)
    found.on("pageerror", lambda error: errors.append(str(error)))
    yield found
    context.close()
    assert errors == []


def until(holds: Callable[[], bool]) -> None:
    """Wait until `holds` is true. Playwright's own wait runs a script in the page, which the page's policy forbids."""
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end, "The condition did not come true."
        time.sleep(0.05)


def assert_accessible(page: Page) -> None:
    found = Axe().run(page)
    bad = [each for each in found.response["violations"] if each["impact"] in ("serious", "critical")]
    assert bad == [], [(each["id"], [node["target"] for node in each["nodes"]]) for each in bad]


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[tuple[Served, SlowChat]]:
    chat = SlowChat()
    with serving(tmp_path / "service", chat) as served:
        yield served, chat


@pytest.mark.parametrize("page", [(1300, LIGHT), (1300, DARK), (400, LIGHT), (400, DARK)], indirect=True)
def test_a_pdf_is_asked_watched_and_cited(page: Page, slow: tuple[Served, SlowChat], tmp_path: Path) -> None:
    served, chat = slow
    page.goto(served.url)
    assert_accessible(page)
    page.set_input_files("#file", pdf(tmp_path / "keeper.pdf", PAGES))
    page.locator("#files .file-name", has_text="keeper.pdf").wait_for()
    page.get_by_label("Question", exact=True).fill(keeper.QUESTION)
    page.get_by_role("button", name="Ask", exact=True).click()

    memory = page.locator(".open .memory-text")
    served.call(lambda: chat.let(1))
    page.locator(".open .memory-text ins").first.wait_for()
    assert keeper.FACTS[0] in memory.inner_text()
    assert keeper.FACTS[1] not in memory.inner_text()
    assert_accessible(page)

    served.call(chat.gate.set)
    answer = page.locator(".open .answer")
    answer.wait_for()
    assert answer.inner_text() == keeper.KEYS
    until(lambda: all(fact in (memory.text_content() or "") for fact in keeper.FACTS))
    assert_accessible(page)

    cited = page.get_by_role("button", name="Passage", exact=False).filter(has_text=keeper.FACTS[1])
    cited.click()
    page.locator("#passage-text mark").wait_for()
    assert page.locator("#passage-text mark").inner_text() == keeper.FACTS[1]
    assert f"page {keeper.ASKED[1] + 1}" in page.locator("#passage-where").inner_text()
    assert page.locator("#passage-text mark").is_visible()
    assert_accessible(page)
    page.keyboard.press("Escape")
    page.locator("#passage").wait_for(state="hidden")
    assert cited.evaluate("button => button === document.activeElement")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_readings_are_cancelled_resumed_downloaded_and_deleted(page: Page, slow: tuple[Served, SlowChat]) -> None:
    served, chat = slow
    page.goto(served.url)
    page.get_by_label("Text to read").fill(keeper.text())
    page.get_by_label("Question", exact=True).fill(keeper.QUESTION)
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Cancel").click()
    page.locator('article.open[data-state="cancelled"]').wait_for()
    served.call(chat.gate.set)
    page.get_by_role("button", name="Resume").click()
    page.locator(".open .answer").wait_for()
    with page.expect_download() as download:
        page.locator(".open [data-action=download]").click()
    assert keeper.KEYS in Path(download.value.path()).read_text()

    address = page.url
    page.reload()
    page.locator(".open .answer").wait_for()
    page.get_by_label("Question", exact=True).fill(f"{keeper.QUESTION} Again.")
    page.keyboard.press("Enter")
    page.locator(".open .asked", has_text="Again.").wait_for()
    page.locator(".open .answer").wait_for()
    assert page.locator("#other-readings").inner_text().count(keeper.QUESTION) >= 1
    page.go_back()
    page.locator(".open .asked", has_text=keeper.QUESTION).wait_for()
    assert page.url == address

    page.locator(".open [data-action=delete]").click()
    page.get_by_role("button", name="Delete", exact=True).last.click()
    until(lambda: len(served.client.get("/api/readings").json()["readings"]) == 1)


def test_hostile_texts_stay_texts(page: Page, tmp_path: Path) -> None:
    name = "<img src=x onerror=alert(1)>\u202e\x1b[31m.txt"
    evil = f"<script>alert(1)</script>{keeper.text(20)}<img src=x onerror=alert(2)>"
    with serving(tmp_path) as served:
        form = {"question": f"<b>{keeper.QUESTION}</b>", "documents": [{"text": evil, "name": name}]}
        id_ = served.client.post("/api/readings", json=form).json()["id"]
        page.on("dialog", lambda dialog: pytest.fail("A script in the document ran."))
        page.goto(f"{served.url}/#/r/{id_}")
        page.locator(".open .answer").wait_for()
        assert page.locator(".open .asked").inner_text() == f"<b>{keeper.QUESTION}</b>"
        title = page.locator("#thread-title").inner_text()
        assert "<img src=x onerror=alert(1)>" in title
        assert not {"\u202e", "\x1b"} & set(title)
        assert page.locator("main img, main script").count() == 0


def test_a_key_is_asked_for(page: Page, tmp_path: Path) -> None:
    with serving(tmp_path, doors=Doors(Rules(keys=[KEY])), headers=[("Authorization", f"Bearer {KEY}")]) as served:
        form = {"question": keeper.QUESTION, "documents": [{"text": keeper.text(20)}]}
        served.client.post("/api/readings", json=form)
        page.goto(served.url)
        page.get_by_label("Key", exact=True).fill(KEY)
        assert_accessible(page)
        page.get_by_role("button", name="Continue").click()
        page.locator("#readings-list a").first.click()
        page.locator(".open .answer").wait_for()
        assert page.evaluate("document.cookie + JSON.stringify({...localStorage})") == "{}"


def test_a_refused_document_says_why(page: Page, slow: tuple[Served, Any], tmp_path: Path) -> None:
    (tmp_path / "image.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    page.goto(slow[0].url)
    page.set_input_files("#file", tmp_path / "image.png")
    page.locator("#files .problem", has_text="is a PNG image, not a document").wait_for()
    assert_accessible(page)
