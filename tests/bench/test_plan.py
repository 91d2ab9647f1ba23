from __future__ import annotations

import pytest

from memagent.bench.plan import PRESETS, Plan
from memagent.errors import UsageError
from memagent.tasks.catalog import RULER, Data
from memagent.tasks.example import Length, parse_length
from memagent.tasks.needles import NeedleTask
from memagent.tasks.tracing import TracingTask

NOISE, VT = NeedleTask("niah_single_1", "noise"), TracingTask()


def test_short_samples_come_before_long_ones_and_all_tasks_at_each_length() -> None:
    plan = Plan([NOISE, VT], [Length(8192), Length(4096)], 2, ["memory"])
    assert [(each.task.name, each.length.value, each.number) for each in plan.samples_in_order()] == [
        (name, length, number) for length in (4096, 8192) for name in ("niah_single_1", "vt") for number in (0, 1)
    ]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"readers": ["skim"]}, "There is no reader skim: give memory, overwrite, gated, .*, direct, "),
        ({"readers": []}, "needs a task, a reader and at least one sample"),
        ({"tasks": []}, "needs a task, a reader and at least one sample"),
        ({"readers": ["memory", "memory"]}, "A reader is named twice: name it once"),
        ({"samples": 0}, "needs a task, a reader and at least one sample"),
        ({"lengths": []}, "niah_single_1 needs another length: give --lengths, such as 8k"),
        ({"lengths": [Length(50, "paragraphs")]}, "niah_single_1 needs another length"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(change: dict[str, object], says: str) -> None:
    given: dict[str, object] = {"tasks": [NOISE], "lengths": [Length(4096)], "samples": 1, "readers": ["memory"]}
    with pytest.raises(UsageError, match=says):
        Plan(**(given | change))  # type: ignore[arg-type]


def test_the_papers_settings() -> None:
    ruler, hqa = PRESETS["ruler-paper"], PRESETS["hqa-paper"]
    assert sorted(ruler["tasks"]) == sorted(set(RULER) - {"cwe", "qa_2"})
    assert len(ruler["tasks"]) == 11
    lengths = [parse_length(each) for each in ruler["lengths"].split(",")]
    assert [length.value for length in lengths] == [2**power for power in range(13, 20)]
    paragraphs = [parse_length(each) for each in hqa["lengths"].split(",")]
    assert [str(each) for each in paragraphs[:3]] == ["50p", "100p", "200p"]
    assert paragraphs[-1] == Length(25_600, "paragraphs")
    assert (hqa["tasks"], hqa["samples"]) == (["hqa"], 128)


def test_the_quick_preset_needs_no_data() -> None:
    tasks = Data().tasks(PRESETS["quick"]["tasks"])
    lengths = [parse_length(each) for each in PRESETS["quick"]["lengths"].split(",")]
    plan = Plan(tasks, lengths, PRESETS["quick"]["samples"], ["memory"])
    assert sum(each.length.value for each in plan.samples_in_order()) < 100_000
