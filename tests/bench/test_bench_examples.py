from __future__ import annotations

import re
from dataclasses import replace

from make_results import make_results, tokens

from memagent.bench.examples import failures, pick, worst
from memagent.bench.results import Result, Tracked


def a_result(**changes: object) -> Result:
    (result,) = make_results(["vt"], tokens(4096), samples=1)
    result = replace(result, status="done", scores={"string_match_all": 0.0, "f1": 0.25}, facts=())
    return replace(result, **changes)  # type: ignore[arg-type]


def summaries(html: str) -> list[str]:
    return re.findall(r"<summary>(.*?)<span>", html)


def test_the_worst_of_each_task_have_the_lowest_scores_short_ones_first() -> None:
    scores = [1.0, 0.2, 1.0, 0.0, 0.4]
    results = [
        a_result(task=task, length=length, tokens=length, number=number, scores={"string_match_all": score})
        for task in ("own", "qa_1", "vt")
        for length in (16384, 4096)
        for number, score in enumerate(scores)
    ]
    numbers = ("4k, example 3", "16k, example 3", "4k, example 1")
    assert summaries(worst(pick(results))) == [f"{task}, {number}" for task in ("vt", "qa_1", "own")
                                               for number in numbers]  # fmt: skip


def test_only_what_the_memory_reader_read_is_among_the_worst() -> None:
    results = [a_result(reader="direct"), a_result(status="failed"), a_result(status="overflow")]
    assert pick(results).worst == {}
    assert "every example that it read scored 1" in worst(pick(results))


def test_an_example_tells_what_was_asked_said_remembered_and_lost() -> None:
    facts = (Tracked(0.09, 1, "answered"), Tracked(0.5, 2, "lost", 7), Tracked(1.0, 3, "never written"))
    html = worst(pick([a_result(question="Who & where?", answers=("a", "b"), prediction="It is <b>.", facts=facts)]))
    assert "<span>string_match_all 0, f1 25</span><span>lost, never written</span>" in html
    assert '<dt>question</dt><dd class="text">Who &amp; where?</dd>' in html
    assert '<dt>right (any or all, depending on the metric)</dt><dd class="">a\nb</dd>' in html
    assert '<dt>the model\'s answer</dt><dd class="text">It is &lt;b&gt;.</dd>' in html
    assert re.findall(r"at \d+ % of the document.*?(?=\n|<)", html) == [
        "at 9 % of the document, read at step 1: answered",
        "at 50 % of the document, read at step 2: lost at step 7",
        "at 100 % of the document, read at step 3: never written",
    ]


def test_what_is_empty_or_long_is_said_so() -> None:
    html = worst(pick([a_result(prediction="", memory="x" * 5000)]))
    assert '<dt>the model\'s answer</dt><dd class="text">(empty)</dd>' in html
    assert "[… 3,500 characters …]" in html
    assert "x" * 1001 not in html
    assert "what became of the facts" not in html


def test_failures_are_listed_by_cause_the_frequent_first() -> None:
    results = [a_result(status="failed", number=k, cause="rare" if k < 3 else "often") for k in range(63)]
    html = failures(pick(results))
    assert re.findall(r"<summary>(\w+)<span>(.*?)</span>", html) == [("often", "60 examples"), ("rare", "3 examples")]
    assert html.count("vt, 4k, example") == 50 + 3
    assert "… and 10 more in results.jsonl" in html


def test_of_many_causes_the_first_are_shown() -> None:
    html = failures(pick(a_result(status="failed", cause=f"cause {k}") for k in range(33)))
    assert html.count("<details>") == 30
    assert "… and 3 more causes in results.jsonl" in html


def test_no_failures_are_none() -> None:
    assert failures(pick([a_result()])) == '<p class="note">None.</p>'
