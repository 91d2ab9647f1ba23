from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from make_results import READERS, make_cells, make_results, one_cell, paragraphs, tokens

from memagent.bench.report import write_report
from memagent.bench.results import Result
from memagent.errors import StorageError
from memagent.tasks.catalog import RULER

HEADER = {"model": "smollm2-360m", "seed": 42, "samples": 5, "budget": {"segment": 4096, "memory": 1024}, "data": {},
          "readers": ["memory", "direct"], "preset": None, "local": True}  # fmt: skip
EVIL = "</script><img src=x onerror=alert(1)>&"


def written(folder: Path, results: Sequence[Result], header: dict[str, object] = HEADER) -> str:
    write_report(folder, make_cells(results), lambda: results, header)
    return (folder / "report.html").read_text(encoding="utf-8")


class _Tags(HTMLParser):
    """Fails at a tag that is closed in the wrong place, and collects the contents of the page."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in ("meta", "br", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def parsed(page: str) -> _Tags:
    tags = _Tags()
    tags.feed(page)
    tags.close()
    assert tags.open == []
    return tags


def test_a_run_gives_a_page_and_its_charts(tmp_path: Path) -> None:
    page = written(tmp_path, make_results(["niah_single_1", "qa_1"], tokens(4096, 65536), READERS, samples=20))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [
        "accuracy.png",
        "causes.png",
        "depth.png",
        "heatmap.png",
        "report.html",
        "time.png",
        "tradeoff.png",
    ]
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in names if name.endswith("png"))
    assert [tag for tag, _ in parsed(page).seen].count("figure") == 6
    assert "<title>smollm2-360m on 2 tasks</title>" in page
    assert "<dt>long</dt><dd>4k–64k</dd>" in page
    assert "--concurrency 1" in page


def test_the_page_needs_nothing_from_elsewhere(tmp_path: Path) -> None:
    tags = parsed(written(tmp_path, make_results(["hqa"], paragraphs(50, 100), READERS, samples=5)))
    targets = [value for _, attrs in tags.seen for name, value in attrs.items() if name.endswith(("href", "src"))]
    assert targets
    assert all(value is not None and value.startswith("#") for value in targets)
    assert not any(tag in ("script", "link", "img", "iframe") for tag, _ in tags.seen)


def test_everything_from_outside_is_escaped(tmp_path: Path) -> None:
    results = make_results(["vt"], tokens(4096, 16384), ["memory"], samples=6)
    results = [replace(result, task=EVIL, model=EVIL, question=EVIL, prediction=EVIL, memory=EVIL, answers=(EVIL,),
                       cause=EVIL, scores={EVIL: 0.0}) for result in results]  # fmt: skip
    results[0] = replace(results[0], status="failed")
    page = written(tmp_path, results, {EVIL: {EVIL: [EVIL]}})
    assert "<img" not in page
    assert "</script>" not in page
    assert page.count("&lt;/script&gt;") > 20
    parsed(page)


@pytest.mark.slow
def test_the_same_results_give_the_same_bytes(tmp_path: Path) -> None:
    results = make_results(["vt", "hqa"], tokens(4096, 16384), READERS, samples=5)
    written(tmp_path / "a", results)
    written(tmp_path / "b", results)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_tables_show_score_interval_and_what_was_not_read(tmp_path: Path) -> None:
    cells = [one_cell(failed=2), one_cell(length=8192, overflow=100), one_cell(metric="f1", score=12.3)]
    write_report(tmp_path, cells, list, {})
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert '">83.6<span>75.1–90.2</span><span class="left-out">2 failed</span></td>' in page
    assert '<td class="over">overflow</td>' in page
    assert '<tr class="other"><th scope="row">f1</th><td title="[75.1–90.2]">12.3</td><td>–</td></tr>' in page
    assert "RULER&#x27;s metric: the fraction of the gold answers found" in page


def test_the_header_is_shown_whole(tmp_path: Path) -> None:
    page = written(tmp_path, make_results(["vt"], tokens(4096), samples=2))
    facts = dict(re.findall(r'<tr><th scope="row">(\w+)</th><td>(.*?)</td></tr>', page[page.index('id="run"') :]))
    assert facts == {
        "model": "smollm2-360m", "seed": "42", "samples": "5", "budget": "segment 4,096, memory 1,024", "data": "–",
        "readers": "memory, direct", "preset": "–", "local": "True",
    }  # fmt: skip


def test_the_examples_gone_wrong_and_the_failed_ones_have_their_sections(tmp_path: Path) -> None:
    results = make_results(["vt"], tokens(4096), samples=3)
    scores = {"string_match_all": 0.0}
    results = [replace(result, status="failed" if result.number else "done", scores=scores) for result in results]
    page = written(tmp_path, results)
    worst, failed = page[page.index('id="worst"') : page.index('id="failed"')], page[page.index('id="failed"') :]
    assert re.findall(r"What is asked in example \d\?", worst) == ["What is asked in example 0?"]
    assert re.findall(r"vt, 4k, example \d", failed) == ["vt, 4k, example 1", "vt, 4k, example 2"]
    page = written(tmp_path, make_results(["vt"], tokens(4096), ["direct"]))
    assert "The memory reader was not among the readers." in page


def test_a_chart_without_data_is_left_out_and_an_old_one_removed(tmp_path: Path) -> None:
    results = make_results(["vt"], tokens(4096, 16384), samples=10)
    written(tmp_path, results)
    assert (tmp_path / "time.png").exists()
    page = written(tmp_path, [result for result in results if result.length == 4096])
    assert not (tmp_path / "time.png").exists()
    assert "least-squares" not in page


def test_without_matplotlib_there_are_tables_and_a_word_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    page = written(tmp_path, make_results(["vt"], tokens(4096, 16384), samples=5))
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert "pip install 'memagent[plots]'" in page
    assert "<table" in page
    assert "<svg" not in page


def test_a_run_without_results_has_a_page_too(tmp_path: Path) -> None:
    page = written(tmp_path, [])
    assert "No results yet" in page
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"The report in .*file cannot be written"):
        written(tmp_path / "file", [])


@pytest.mark.slow
def test_fourteen_tasks_of_seven_lengths_and_four_readers(tmp_path: Path) -> None:
    lengths = tokens(*(8192 * 2**power for power in range(7)))
    page = written(tmp_path, make_results([*RULER, "hqa"], lengths, READERS, samples=2))
    assert page.count('class="score"') + page.count('class="over"') + page.count("<td>–</td>") >= 15 * 4 * 7
    assert len(page) < 3_000_000
