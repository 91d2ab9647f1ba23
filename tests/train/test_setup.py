"""Problems from several sources, in turn."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from data import DATA, needs_data
from wanted import wanted

from memagent.core.reading import Reading, Underway
from memagent.errors import UsageError
from memagent.rl.config import ProblemsConfig, load_config
from memagent.rl.problem_mix import Mixture, adapted, mixture, task_list
from memagent.rl.problems import Problem
from memagent.train.nano import nano_policy
from memagent.train.setup import set_up


@dataclass(frozen=True, slots=True)
class Numbered:
    name: str

    def problem(self, number: int) -> Problem:
        def begin() -> Reading:
            raise NotImplementedError

        return Problem(f"{self.name}{number}", begin, lambda answer, trace: 0.0)


def names(mixed: Mixture, many: int) -> list[str]:
    return [mixed.problem(number).name for number in range(many)]


def test_sources_take_turns() -> None:
    assert names(Mixture([Numbered("a"), Numbered("b")]), 5) == ["a0", "b0", "a1", "b1", "a2"]


def test_a_source_given_twice_comes_twice_as_often_and_repeats_nothing() -> None:
    a, b = Numbered("a"), Numbered("b")
    found = names(Mixture([a, b, a], together=2), 18)
    assert found == "a0 a1 b0 b1 a2 a3 a4 a5 b2 b3 a6 a7 a8 a9 b4 b5 a10 a11".split()


def test_a_task_named_twice_is_in_the_mixture_twice() -> None:
    config = ProblemsConfig()
    tasks = task_list(config, ["colours", "vt", "colours"])
    assert [task.name for task in tasks] == ["colours", "vt", "colours"]
    mixed = mixture(tasks, ["500", "600"], nano_policy(0), config, 0)
    found = [mixed.problem(number).name for number in range(60)]
    assert Counter(name.rpartition("-")[0] for name in found) == {
        "colours-500": 20, "colours-600": 20, "vt-500": 10, "vt-600": 10,
    }  # fmt: skip
    assert len(set(found)) == 60


@needs_data
def test_questions_on_one_document_stay_together() -> None:
    config = ProblemsConfig(
        prose=str(DATA / "books" / "siddhartha.txt.gz"), squad=str(DATA / "squad" / "dev-v1.1.jsonl.gz")
    )
    tasks = task_list(config, ["practice", "practice_squad"])
    mixed = mixture(tasks, ["3000"], nano_policy(0), config, 0)
    found = [mixed.problem(number).name.rpartition("-") for number in range(32)]
    assert [task for task, _, _ in found[::8]] == ["practice-3000", "practice_squad-3000"] * 2
    assert [int(number) % 8 for _, _, number in found] == list(range(8)) * 4


@pytest.mark.slow
@needs_data
def test_tests_ask_one_question_of_each_document_in_one_layout() -> None:
    config = ProblemsConfig(
        layouts=("section-first", "paper"),
        prose=str(DATA / "books" / "siddhartha.txt.gz"),
        squad=str(DATA / "squad" / "dev-v1.1.jsonl.gz"),
    )
    tasks = task_list(config, ["practice", "practice_squad"])
    policy = nano_policy(0)
    policy.defaults = adapted(policy.defaults, config)
    tested = [mixture(tasks, ["3000"], policy, config, 0, test=True).problem(number) for number in range(16)]
    assert [problem.name.rpartition("-")[0] for problem in tested] == ["practice-3000", "practice_squad-3000"] * 8
    assert {int(problem.name.rpartition("-")[2]) % 8 for problem in tested} == {0}
    assert len({problem.name for problem in tested}) == 16
    assert {first_words(problem) for problem in tested} == {"You are presented with a section"}
    mixed = mixture(tasks, ["3000"], policy, config, 0)
    layouts = [first_words(mixed.problem(number)) for number in range(160)]
    assert all(len(set(layouts[at : at + 8])) == 1 for at in range(0, 160, 8))
    assert set(layouts) == {"You are presented with a section", "You are presented with a problem,"}


def first_words(problem: Problem) -> str:
    request = wanted(Underway(problem.begin()))
    return " ".join(request.messages[0].content.split()[:6])


def test_data_that_is_missing_is_asked_for_as_a_setting() -> None:
    with pytest.raises(UsageError, match=r"Data for practice is missing: give --set problems\.prose=PATH, a text file"):
        task_list(ProblemsConfig(), ["practice"])


def test_a_length_that_a_task_cannot_have_is_refused_before_the_folder_is_taken(tmp_path: Path) -> None:
    for key in ("problems.lengths", "problems.warmup_lengths", "watch.lengths"):
        config = load_config(preset="nano", sets=[f'{key}=["3"]'])
        with pytest.raises(UsageError, match="give a larger length"):
            set_up(config, tmp_path / "out")
        assert not (tmp_path / "out").exists()
