"""From a configuration to a Training: the policy, the problems, the tests, the folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from memagent.budget import Budget
from memagent.errors import UsageError
from memagent.habits import Habits
from memagent.prompts import prompts_for
from memagent.tasks.catalog import Data
from memagent.tasks.example import Task, parse_length
from memagent.train.config import ProblemsConfig, TrainConfig
from memagent.train.models import make_policy
from memagent.train.policy import Policy
from memagent.train.problems import MemoryProblems, Problem, Problems
from memagent.train.processes import Processes
from memagent.train.run import Run
from memagent.train.training import OnStep, Training

_TESTS = 1_000_000_007
"""Added to the seed: problems for tests are never those of the training."""


@dataclass(frozen=True, slots=True)
class Mixture:
    """Several sources of problems, in turn."""

    sources: Sequence[Problems]

    def problem(self, number: int) -> Problem:
        turn, source = divmod(number, len(self.sources))
        return self.sources[source].problem(turn)


def set_up(config: TrainConfig, out: Path, on_step: OnStep | None = None) -> Training:
    """Everything that `train` needs. The folder is locked until `training.run.close()`.

    Raises:
        UsageError: a setting makes no sense.
        RunError: the folder belongs to another run.
    """
    processes = Processes()
    given = config.problems
    data = Data(given.prose, given.squad, given.hotpotqa, given.paragraphs, given.words)
    tasks = data.tasks(given.tasks)
    first = data.tasks(given.warmup_tasks) if given.warmup_tasks else tasks
    run = Run(out, config)
    policy = make_policy(config.policy, config.seed, processes.device)
    policy.habits = adapted(policy.habits, given)
    training = Training(
        policy,
        mixture(tasks, given.lengths, policy, given, config.seed),
        tests(tasks, config.watch.lengths or given.lengths[:1], policy, config),
        config,
        run,
        mixture(first, given.warmup_lengths or given.lengths, policy, given, config.seed),
        processes,
    )
    if on_step:
        training.on_step = on_step
    return training


def adapted(habits: Habits, config: ProblemsConfig) -> Habits:
    """The habits of a model, with what the configuration wants otherwise."""
    layout, answer = habits.prompts.names
    used = habits.budget
    budget = Budget(
        used.question,
        config.segment_tokens or used.segment,
        config.memory_tokens or used.memory,
        config.answer_tokens or used.answer,
    )
    return Habits(prompts_for(config.layout or layout, answer), budget)


def mixture(
    tasks: Sequence[Task], lengths: Sequence[str], policy: Policy, config: ProblemsConfig, seed: int
) -> Problems:
    """Tasks x lengths, one after the other."""
    if not tasks or not lengths:
        raise UsageError("Training needs a task and a length: set problems.tasks and problems.lengths.")
    habits = policy.habits
    boxed = "\\boxed" in habits.prompts.answer
    return Mixture(
        [
            MemoryProblems(
                task, parse_length(length), seed, policy.tokenizer, habits.prompts, habits.budget,
                metric=config.metric, boxed=boxed,
            )
            for length in lengths
            for task in tasks
        ]
    )  # fmt: skip


def tests(tasks: Sequence[Task], lengths: Sequence[str], policy: Policy, config: TrainConfig) -> dict[str, Problems]:
    """By length, the same for every seed of a training, scored by each task's own metric."""
    scored = replace(config.problems, metric=None)
    return {length: mixture(tasks, [length], policy, scored, _TESTS) for length in lengths}
