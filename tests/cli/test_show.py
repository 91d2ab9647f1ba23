from __future__ import annotations

import json
import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from inside import inside

from memagent import Budget, MemoryAgent, ScriptedChat, text_document
from memagent.tasks.lighthouses import make_demo

TEXT = (
    "The lamp was lit at six, and the tide was coming in.\n\n"
    "The keeper hid the brass compass in the bread oven.\n\nNobody saw it.\n"
)
FACT = "The keeper hid the brass compass in the bread oven."
MEMORIES = ["Nothing yet.", FACT, FACT, "\\boxed{the bread oven}"]


@pytest.fixture(autouse=True)
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with MemoryAgent(ScriptedChat(MEMORIES), budget=Budget(segment=60)) as agent, text_document(TEXT, "a <b>") as text:
        agent.ask("Where is the compass?", text, run=Path("run"))


def memagent(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "memagent", *arguments], capture_output=True, text=True, timeout=60)


def test_the_timeline_shows_what_each_segment_changed() -> None:
    done = memagent("show", "run")
    assert done.returncode == 0
    shown = " ".join(done.stdout.split())
    assert "Where is the compass?" in shown
    assert f"[-Nothing yet.-]{{+{FACT}+}}" in shown
    assert "[1] a <b>, 54–105, turn 2: “The keeper hid the brass compass in the bread oven.”" in shown


def test_an_unfinished_run_can_be_looked_at() -> None:
    journal = Path("run/journal.jsonl")
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:2]))
    done = memagent("show", "run")
    assert done.returncode == 0
    assert "Not finished" in done.stdout


def test_the_page_stands_alone() -> None:
    class Links(HTMLParser):
        """Collects everything that a page would fetch."""

        def __init__(self) -> None:
            super().__init__()
            self.found: list[str] = []

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.found += [value or "" for name, value in attrs if name in ("src", "href")]

    done = memagent("show", "run", "--html", "page.html")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "Wrote page.html.\n")
    page = Path("page.html").read_text()
    links = Links()
    links.feed(page)
    assert all(link.startswith("#") for link in links.found)
    assert "a &lt;b&gt;" in page
    assert "the bread oven" in page


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (["show", "none"], 2, "There is no run at none"),
        (["show", "run", "--html", "none/page.html"], 2, "none/page.html cannot be written"),
        (["demo", "--length", "long"], 2, "'long' is not a length: give tokens, such as 4096, 8k or 1m"),
        (["demo", "--length", "50p"], 2, "--length must be at least 200 tokens"),
        (["demo", "--length", "1k", "--model", "scripted:none"], 2, "cannot be read"),
    ],
)
def test_bad_arguments(arguments: list[str], status: int, sentence: str) -> None:
    done = inside(*arguments)
    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr.startswith("Error: ")
    assert sentence in done.stderr


def test_the_demo_checks_the_answer() -> None:
    answer = make_demo(round(1024 * 4.4), 3).answer
    Path("right.jsonl").write_text(json.dumps(f"\\boxed{{{answer}}}") + "\n")
    Path("wrong.jsonl").write_text(json.dumps("\\boxed{an anchor}") + "\n")
    for script, status in (("right", 0), ("wrong", 1)):
        options = ["--no-story", "--length", "1k", "--seed", "3", "--model", f"scripted:{script}.jsonl"]
        done = inside("demo", *options, "--json")
        assert done.returncode == status
        value = json.loads(done.stdout)
        assert value["right"] == (status == 0)
        assert [(each["right"], each["expected"]) for each in value["answers"]] == [(status == 0, answer)]
        assert inside("demo", *options).stdout.endswith(f"{script.capitalize()}: the text says {answer}.\n\n")


def test_the_demo_asks_about_a_story_too() -> None:
    Path("dinah.jsonl").write_text(json.dumps("\\boxed{Dinah}") + "\n")
    done = inside("demo", "--length", "1k", "--model", "scripted:dinah.jsonl", "--json")
    answers = json.loads(done.stdout)["answers"]
    assert done.returncode == 1
    assert [(each["right"], each["expected"]) for each in answers[:3]] == [
        (True, "Dinah"), (False, "hookah"), (False, None),
    ]  # fmt: skip
    assert len(answers) == 4


def test_the_page_of_a_document_whose_name_is_not_utf8(tmp_path: Path) -> None:
    name = os.fsdecode(b"lat\xe9.txt")
    (tmp_path / name).write_text("The cat is red. " * 20)
    (tmp_path / "replies.jsonl").write_text('"The cat is red."\n"\\\\boxed{red}"\n')
    asked = memagent("ask", "Which colour?", name, "--model", "scripted:replies.jsonl", "--run", "named")
    assert asked.returncode == 0
    assert memagent("show", "named", "--html", "named.html").returncode == 0
    assert "lat\\udce9.txt" in (tmp_path / "named.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("asking", "answer"),
    [("Reply \\boxed{{}}:", "red"), ("In a word:", "It is \\boxed{red}, I think.")],
)
def test_the_answer_is_the_one_that_ask_gave_with_any_template(asking: str, answer: str) -> None:
    template = f"Problem: {{prompt}}\nMemory: {{memory}}\n{asking}"
    chat = ScriptedChat(["The cat is red.", "  It is \\boxed{red}, I think. "])
    with MemoryAgent(chat, answer=template) as agent, text_document("The cat is red. " * 20) as document:
        given = agent.ask("Which colour?", document, run=Path("own"))
    assert given.text == answer
    assert given.text in memagent("show", "own").stdout.split("\n")


@pytest.mark.parametrize("blank", [60, 220, 500])
def test_blank_runs_do_not_break_the_page(tmp_path: Path, blank: int) -> None:
    text = f"{'x' * 300} {' ' * blank}The key is 4711.{' ' * blank} {'y' * 300}"
    (tmp_path / "blank.txt").write_text(text)
    replies = [f"The key{' ' * blank}is 4711.", "\\boxed{4711}"]
    (tmp_path / "replies.jsonl").write_text("".join(json.dumps(reply) + "\n" for reply in replies))
    assert inside("ask", "Which key?", "blank.txt", "--model", "scripted:replies.jsonl", "--run", "b").returncode == 0
    assert inside("show", "b").returncode == 0
    assert inside("show", "b", "--html", "b.html").returncode == 0
    assert "4711" in (tmp_path / "b.html").read_text()
