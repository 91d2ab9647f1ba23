"""The problems of a training run, as its configuration names them: every task at every length, in turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from memagent.core.budget import Budget
from memagent.core.prompts import prompts_for
from memagent.core.reading import shortest_prompts
from memagent.errors import UsageError
from memagent.models.reader_defaults import ReaderDefaults
from memagent.readers import find_reader
from memagent.rl.config import ProblemsConfig, TrainConfig
from memagent.rl.problems import MemoryProblems, Problem, Problems
from memagent.rl.speaker import Speaker
from memagent.tasks.catalog import RULER, SOURCES, Data
from memagent.tasks.example import Length, Task, parse_length

_TESTS = 1_000_000_007
"""Seed of the test problems, far from the seeds of training runs, so that none of them draws the same problems."""
_HELD = 100
"""Number of examples held back for tests if a task has a fixed number of examples, but at most half of them."""


@dataclass(frozen=True, slots=True)
class Mixture:
    """Several sources of problems in turn, `together` problems at a time, so that those on one document stay together.

    A source that is listed twice has two turns.
    """

    sources: Sequence[Problems]
    together: int = 1

    def problem(self, number: int) -> Problem:
        block, place = divmod(number, self.together)
        cycle, turn = divmod(block, len(self.sources))
        same = [other for other, source in enumerate(self.sources) if source is self.sources[turn]]
        before = cycle * len(same) + same.index(turn)
        return self.sources[turn].problem(before * self.together + place)


def adapted(defaults: ReaderDefaults, config: ProblemsConfig) -> ReaderDefaults:
    """The defaults of a model, changed as the configuration says."""
    layout, answer = defaults.prompts.names
    used = defaults.budget
    budget = Budget(
        used.question,
        config.segment_tokens or used.segment,
        config.memory_tokens or used.memory,
        config.answer_tokens or used.answer,
    )
    prompts = prompts_for(config.layouts[0] if config.layouts else layout, answer, defaults.prompts)
    return ReaderDefaults(prompts, budget, config.reader or defaults.reader)


def mixture(
    tasks: Sequence[Task],
    lengths: Sequence[str],
    policy: Speaker,
    config: ProblemsConfig,
    seed: int,
    test: bool = False,
) -> Problems:
    """Every task at every length, in turn. A task listed twice comes twice as often. A task of your own has the lengths
    of its documents.

    Args:
        test: whether to draw from the examples held back for tests, if a task has a fixed number of examples, and to
            ask one question per document.
    """
    pairs = [
        (length, task)
        for length in [*map(parse_length, lengths), Length(0, "own")]
        for task in tasks
        if length.unit in task.units
    ]
    made = {(length, task.name): _source(task, length, policy, config, seed, test) for length, task in pairs}
    sources = [made[length, task.name] for length, task in pairs]
    if not sources:
        raise UsageError("Training needs a task, and a length that suits it: set problems.tasks and problems.lengths.")
    for source in made.values():
        source.problem(0)  # a length that a task cannot have fails here, before any work
    return Mixture(sources, 1 if test else max(task.together for _, task in pairs))


def _source(
    task: Task, length: Length, policy: Speaker, config: ProblemsConfig, seed: int, test: bool
) -> MemoryProblems:
    defaults = policy.defaults
    prompts, every = [defaults.prompts], task.together
    if not test:
        _, answer = defaults.prompts.names
        prompts, every = [prompts_for(layout, answer, defaults.prompts) for layout in config.layouts] or prompts, 1
    first, many = 0, task.size
    if task.size is None:
        seed = _TESTS if test else seed
    elif held := min(_HELD, task.size // 2) // task.together * task.together:
        first, many = (0, held // every) if test else (held, (task.size - held) // task.together * task.together)
    return MemoryProblems(
        task, length, seed, policy.tokenizer, prompts, defaults.budget,
        metric=config.metric, reader=config.reader or defaults.reader, boxed=defaults.prompts.style == "boxed",
        first=first, many=many, every=every, slips=(0.0,) if test else config.slips,
        skips=config.skips, brevity=0.0 if test else config.brevity,
    )  # fmt: skip


def tests(tasks: Sequence[Task], lengths: Sequence[str], policy: Speaker, config: TrainConfig) -> dict[str, Problems]:
    """Test problems by length, scored by each task's own metric. Tasks without a fixed size ignore the seed."""
    scored = replace(config.problems, metric=None)
    return {length: mixture(tasks, [length], policy, scored, config.seed, test=True) for length in lengths or ["own"]}


def task_list(config: ProblemsConfig, names: Sequence[str]) -> list[Task]:
    """The tasks with these names, in order. A name that comes twice gives the same task twice."""
    single = [each for name in names for each in (RULER if name == "ruler" else [name])]
    given = {name: getattr(config, name) for name in SOURCES}
    data = Data(**given, option="--set problems.{}=PATH")
    found = dict(zip(dict.fromkeys(single), data.tasks(single), strict=True))
    return [found[name] for name in single]


def check_budget(speaker: Speaker, window: int) -> None:
    """Check that a budget fits the window, for an empty question. Raises BudgetError."""
    defaults = speaker.defaults
    shortest = shortest_prompts(find_reader(defaults.reader), "", defaults.budget, defaults.prompts)
    tokens = {kind: len(speaker.render(messages)) for kind, messages in shortest.items()}
    defaults.budget.check(
        question=0,
        update=max(size for kind, size in tokens.items() if kind != "answer"),
        answer=tokens["answer"],
        window=window,
    )
