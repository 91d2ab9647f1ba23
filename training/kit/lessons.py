"""Make lessons ahead of time, on all cores, as soon as the data has arrived.

    python training/kit/lessons.py PLACE PROCESSES [SETTING …]

PLACE/lessons gets one file per step, until you stop the program. SETTINGs are as for --set, and must be the same as for
train_kit.py. An H100 takes less than half a second for a step; one core takes several seconds to make its lessons.
"""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from multiprocessing import get_context
from pathlib import Path

from settings import BASE, settings
from transformers import AutoTokenizer

from memagent.models.reader_defaults import load_reader_defaults
from memagent.rl.problem_mix import adapted
from memagent.rl.speaker import Speaker
from memagent.train.batches import micro_batches
from memagent.train.lessons import lessons_at, tokens_of
from memagent.train.setup import curriculum


def make(place: Path, first: int, every: int, more: Sequence[str]) -> None:
    """Write the lessons of every `every`-th step, from step `first` on."""
    os.nice(19)  # the process that feeds the GPU has priority
    config = settings(place, more)
    speaker = Speaker(AutoTokenizer.from_pretrained(place / "model"), load_reader_defaults(Path(BASE)))
    speaker.defaults = adapted(speaker.defaults, config.problems)
    made = curriculum(config, speaker)
    for step in count(first, every):
        lessons = lessons_at(made, speaker, step * config.warmup.problems, 0, 1)
        weight = 1 / tokens_of(lessons)
        packs = micro_batches([replace(each, weight=weight) for each in lessons], config.optimiser.micro_tokens)
        out = place / "lessons" / f"{step}.pkl"
        out.with_suffix(".part").write_bytes(pickle.dumps(packs, protocol=5))
        out.with_suffix(".part").rename(out)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    place, processes, more = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    (place / "lessons").mkdir(exist_ok=True)
    several = get_context("spawn")
    started = [several.Process(target=make, args=(place, number, processes, more)) for number in range(processes)]
    for process in started:
        process.start()
    for process in started:
        process.join()
