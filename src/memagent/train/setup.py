"""Setting up a Training from its configuration: the policy, the problems, the tests and the folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from memagent.core.scoring import METRICS
from memagent.errors import UsageError
from memagent.rl.config import TrainConfig
from memagent.rl.problem_mix import adapted, check_budget, mixture, task_list, tests
from memagent.rl.problems import Problems
from memagent.rl.speaker import Speaker
from memagent.tasks.example import Length, Task, parse_length
from memagent.train.folder import TrainingFolder
from memagent.train.lessons import Curriculum
from memagent.train.loading import make_policy
from memagent.train.processes import Processes
from memagent.train.training import OnStep, Training


def set_up(
    config: TrainConfig, out: Path, on_step: OnStep | None = None, processes: Processes | None = None
) -> Training:
    """Make everything that `train` needs. The folder is locked until `training.close()`.

    Args:
        processes: the processes that train together. The caller closes them.

    Raises:
        UsageError, BudgetError: a setting makes no sense.
        ModelError: the model cannot be loaded.
        RunError: the folder belongs to another run.
    """
    processes = processes or Processes()
    given = config.problems
    if given.metric is not None and given.metric not in METRICS:
        raise UsageError(f"There is no metric {given.metric}: problems.metric is one of {', '.join(METRICS)}.")
    tasks = task_list(given, given.tasks)
    first = task_list(given, given.warmup_tasks) if given.warmup_tasks else tasks
    final_lengths(config)
    policy = make_policy(config.policy, config.seed, processes.device)
    policy.defaults = adapted(policy.defaults, given)
    check_budget(policy, policy.window)
    warmup = mixture(first, given.warmup_lengths or given.lengths, policy, given, config.seed)
    training = Training(
        policy,
        mixture(tasks, given.lengths, policy, given, config.seed),
        tests(tasks, config.watch.lengths or given.lengths[:1], policy, config),
        config,
        TrainingFolder(out, config, processes.first),
        warmup,
        _overwritten(first, policy, config),
        processes,
    )
    processes.wait()
    if on_step:
        training.on_step = on_step
    return training


def curriculum(config: TrainConfig, speaker: Speaker) -> Curriculum:
    """The problems of the warm start, step by step."""
    given = config.problems
    tasks = task_list(given, given.warmup_tasks or given.tasks)
    problems = mixture(tasks, given.warmup_lengths or given.lengths, speaker, given, config.seed)
    return Curriculum(problems, _overwritten(tasks, speaker, config), config)


def _overwritten(tasks: Sequence[Task], policy: Speaker, config: TrainConfig) -> Problems | None:
    """The problems of the steps that practise overwriting; None if there are no such steps."""
    given = config.problems
    if not given.overwriting:
        return None
    without = replace(given, reader="overwrite")
    return mixture(tasks, given.warmup_lengths or given.lengths, policy, without, config.seed + 1)


def final_lengths(config: TrainConfig) -> list[Length]:
    """Lengths of the evaluation at the end."""
    return [parse_length(length) for length in config.watch.final_lengths]
