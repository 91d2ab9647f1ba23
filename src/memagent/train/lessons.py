"""The lessons of the supervised warm start, step by step, and processes that make them ahead of the trainer.

A step on a GPU takes less time than one core needs to make its lessons.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

from memagent.core.prompts import NO_CHANGE, NO_MEMORY, NONE, NOTHING
from memagent.core.reading import Underway
from memagent.core.records import Completion
from memagent.errors import UsageError
from memagent.models.reader_defaults import load_reader_defaults
from memagent.rl.config import TrainConfig, WarmupConfig
from memagent.rl.conversations import Conversation
from memagent.rl.problems import Problem, Problems
from memagent.rl.speaker import Speaker
from memagent.tasks.practice.mixture import ABSENT


def ideal(speaker: Speaker, problem: Problem, config: WarmupConfig | None = None) -> list[Conversation]:
    """The conversations of a perfect policy, without those that the configuration leaves out.

    Raises:
        UsageError: the problem has no ideal completions.
    """
    if problem.ideal is None:
        raise UsageError(f"{problem.name} has no ideal completions to imitate: set warmup.source to own.")
    config = config or WarmupConfig()
    found = []
    draw = random.Random(problem.name)
    attempt = Underway(problem.begin())
    before, read = None, None
    while attempt.wanted:
        place, request = next(iter(attempt.wanted.items()))
        text = problem.ideal(request)
        empty = request.kind == "answer" and request.memory in (NO_MEMORY, NOTHING)
        again = request.kind == "memorize" and request.segment == read and text == NONE
        same = text in (before, NONE, NO_CHANGE) and request.kind == "memorize"
        share = config.easy if empty or again else config.unchanged if same else 1.0
        if request.kind == "answer" and ABSENT in text:
            share *= config.abstaining
        if draw.random() < share:
            completion = (*speaker.tokenizer.ids(text), speaker.end)
            found.append(Conversation(tuple(speaker.render(request.messages)), completion))
        before, read = text, request.segment
        attempt.take(Completion(problem.slip(request, text)), place)
    return found


@dataclass(frozen=True, slots=True)
class Curriculum:
    """The problems of each step of the warm start.

    Args:
        problems: problems of most steps.
        overwritten: problems of the steps that practise overwriting; None if there are no such steps.
    """

    problems: Problems
    overwritten: Problems | None
    config: TrainConfig

    def at(self, position: int, rank: int = 0, ranks: int = 1) -> list[Problem]:
        """The problems of the step that starts at problem number `position`. Each process gets different ones."""
        many, given = self.config.warmup.problems, self.config.problems
        source, chosen = self.problems, list(range(many))
        draw = random.Random(f"overwriting/{self.config.seed}/{position}")
        if self.overwritten is not None and draw.random() < given.overwriting:
            source, chosen = self.overwritten, sorted(draw.sample(chosen, min(given.overwriting_problems, many)))
        return [source.problem((position + each) * ranks + rank) for each in chosen]


def lessons_at(curriculum: Curriculum, speaker: Speaker, position: int, rank: int, ranks: int) -> list[Conversation]:
    """The conversations of the step that starts at `position`."""
    config = curriculum.config.warmup
    return [each for problem in curriculum.at(position, rank, ranks) for each in ideal(speaker, problem, config)]


@contextmanager
def lessons_from(
    curriculum: Curriculum, speaker: Speaker, position: int, rank: int, ranks: int
) -> Iterator[Iterator[list[Conversation]]]:
    """Yield an iterator over the conversations of each step from `position` on, made ahead by `warmup.workers`."""
    config = curriculum.config
    step = config.warmup.problems
    if not config.warmup.workers:
        yield (lessons_at(curriculum, speaker, place, rank, ranks) for place in _from(position, step))
        return
    with TemporaryDirectory() as folder:
        speaker.transformers_tokenizer.save_pretrained(folder)
        speaker.defaults.save(Path(folder))
        # Not forked: a fork of a process that has used threads or a GPU may hang.
        pool = ProcessPoolExecutor(config.warmup.workers, get_context("spawn"), _begin, (config, folder))
        try:
            yield _ahead(pool, position, step, 2 * config.warmup.workers, rank, ranks)
        finally:
            pool.shutdown(cancel_futures=True)


def _from(position: int, step: int) -> Iterator[int]:
    while True:
        yield position
        position += step


def _ahead(
    pool: ProcessPoolExecutor, position: int, step: int, ahead: int, rank: int, ranks: int
) -> Iterator[list[Conversation]]:
    places = _from(position, step)
    coming: deque[Future[list[Conversation]]] = deque()
    while True:
        while len(coming) < ahead:
            coming.append(pool.submit(_made, next(places), rank, ranks))
        yield coming.popleft().result()


_WORKER: list[tuple[Curriculum, Speaker]] = []
"""Curriculum and speaker of a worker process."""


def _begin(config: TrainConfig, folder: str) -> None:
    from transformers import AutoTokenizer

    from memagent.train.setup import curriculum

    speaker = Speaker(AutoTokenizer.from_pretrained(folder), load_reader_defaults(Path(folder)))
    alone = replace(config, warmup=replace(config.warmup, workers=0))
    _WORKER.append((curriculum(alone, speaker), speaker))


def _made(position: int, rank: int, ranks: int) -> list[Conversation]:
    [(made, speaker)] = _WORKER
    return lessons_at(made, speaker, position, rank, ranks)


def tokens_of(lessons: Sequence[Conversation]) -> int:
    """Number of completion tokens in the lessons."""
    return sum(len(each.completion) for each in lessons)
