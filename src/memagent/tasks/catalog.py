"""Turns task names into tasks: RULER's thirteen, RULER-HQA, practice, and the questions in a file of your own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from memagent.errors import DocumentError, UsageError
from memagent.tasks.counting import CodedWords, CommonWords
from memagent.tasks.data import load_prose, load_words
from memagent.tasks.example import Task
from memagent.tasks.from_file import file_of, is_named, load_task
from memagent.tasks.needles import NeedleTask
from memagent.tasks.own_questions import OwnTask, load_own
from memagent.tasks.practice.colours import ColourTask
from memagent.tasks.practice.mixture import PracticeTask
from memagent.tasks.practice.shared import (
    practice_articles,
    practice_hops,
    practice_hotpotqa,
    practice_squad,
    squad_absent,
    squad_unanswerable,
)
from memagent.tasks.questions import hqa, qa_1, qa_2
from memagent.tasks.stories import fairytale, practice_stories
from memagent.tasks.tracing import TracingTask

_NEEDS = {
    "prose": "a text file or a folder of them (public-domain books; Paul Graham's essays as in RULER)",
    "squad": "SQuAD as published, or hub:rajpurkar/squad_v2",
    "hotpotqa": "HotpotQA as published, or hub:hotpotqa/hotpot_qa@distractor",
    "paragraphs": "a JSONL file of Wikipedia paragraphs, one {title, text} per line",
    "unanswerable": "SQuAD 2.0's unanswerable questions on the articles of --squad",
    "stories": "FairytaleQA, a JSONL file with one story per line",
}


SOURCES = ("prose", "squad", "hotpotqa", "paragraphs", "words", "unanswerable", "stories")
"""Names of the data sources that tasks are made of. Each is a field of `Data`."""


@dataclass(frozen=True, slots=True)
class Data:
    """Where the tasks' data is: paths, or `hub:NAME` for SQuAD and HotpotQA; None for data that no task needs."""

    prose: str | None = None
    squad: str | None = None
    hotpotqa: str | None = None
    paragraphs: str | None = None
    words: str | None = None
    unanswerable: str | None = None
    stories: str | None = None
    anywhere: bool = False
    """Whether a JSONL file of your own may name documents outside its folder."""
    option: str = "--{} PATH"
    """Form of the option that gives the path of a source, for messages."""

    def tasks(self, names: Sequence[str]) -> list[Task]:
        """Return the tasks with these names and load the data they need; "ruler" means all thirteen of its tasks.

        Raises:
            UsageError: a task does not exist, or its data was not given.
            DocumentError: the data of a task cannot be read.
        """
        wanted = list(dict.fromkeys(each for name in names for each in (RULER if name == "ruler" else [name])))
        in_prose = [name for name in wanted if name in _PROSE]
        prose = load_prose(self.path("prose", in_prose)) if in_prose else ""
        found: list[Task] = []
        for name in wanted:
            if name in _MAKE:
                found.append(_MAKE[name](self, name, prose))
            elif is_named(name):
                found.append(load_task(name))
            elif name.endswith((".jsonl", ".jsonl.gz")) or Path(name).is_file():
                found.append(load_own(Path(name), self.anywhere))
            else:
                raise UsageError(
                    f"There is no task {name}: give {', '.join(_MAKE)}, a JSONL file of your own, or FILE.py:NAME."
                )
        if len({task.name for task in found}) < len(found):
            raise UsageError("Two files would give tasks of the same name: rename one of them.")
        return found

    def fingerprints(self, tasks: Sequence[Task]) -> dict[str, str]:
        """Return the fingerprint of each data source and of each file of your own. File names do not matter."""
        paths = {name: path for name, path in asdict(self).items() if name in SOURCES and path is not None}
        found = {name: fingerprint(path) for name, path in paths.items()}
        files = {task.name: task.files if isinstance(task, OwnTask) else file_of(task) for task in tasks}
        return found | {f"own:{name}": fingerprint(*each) for name, each in files.items() if each}

    def path(self, source: str, tasks: Sequence[str]) -> str:
        """Return the path of a source. Raises UsageError if these tasks need a source that was not given."""
        path: str | None = getattr(self, source)
        if path is None:
            option = self.option.format(source)
            raise UsageError(f"Data for {', '.join(tasks)} is missing: give {option}, {_NEEDS[source]}.")
        return path


def fingerprint(*paths: str | Path) -> str:
    """Return a shortened sha256 of the bytes of files, or of all files in a folder; a hub: name is returned as is."""
    digest = hashlib.sha256()
    for path in map(str, paths):
        if path.startswith("hub:"):
            return path
        root = Path(path)
        try:
            for file in sorted(root.rglob("*")) if root.is_dir() else [root]:
                if file.is_file():
                    digest.update(file.read_bytes())
        except OSError as error:
            raise DocumentError(f"{path} cannot be read: {error.strerror or error}.") from error
    return digest.hexdigest()[:16]


def _needles(data: Data, name: str, prose: str) -> Task:
    return {
        "niah_single_1": NeedleTask(name, "noise"),
        "niah_single_2": NeedleTask(name, "prose", prose=prose),
        "niah_single_3": NeedleTask(name, "prose", value_kind="uuids", prose=prose),
        "niah_multikey_1": NeedleTask(name, "prose", keys=4, prose=prose),
        "niah_multikey_2": NeedleTask(name, "needles"),
        "niah_multikey_3": NeedleTask(name, "needles", key_kind="uuids", value_kind="uuids"),
        "niah_multivalue": NeedleTask(name, "prose", values=4, prose=prose),
        "niah_multiquery": NeedleTask(name, "prose", keys=4, queries=4, prose=prose),
    }[name]


_PROSE = {"niah_single_2", "niah_single_3", "niah_multikey_1", "niah_multivalue", "niah_multiquery", "practice"}
_MAKE: dict[str, Callable[[Data, str, str], Task]] = {
    **dict.fromkeys(
        [
            *("niah_single_1", "niah_single_2", "niah_single_3"),
            *("niah_multikey_1", "niah_multikey_2", "niah_multikey_3"),
            *("niah_multivalue", "niah_multiquery"),
        ],
        _needles,
    ),
    "vt": lambda data, name, prose: TracingTask(),
    "cwe": lambda data, name, prose: CommonWords(words=load_words(data.words) if data.words else ()),
    "fwe": lambda data, name, prose: CodedWords(),
    "qa_1": lambda data, name, prose: qa_1(data.path("squad", [name])),
    "qa_2": lambda data, name, prose: qa_2(data.path("hotpotqa", [name])),
    "colours": lambda data, name, prose: ColourTask(),
    "colours_changed": lambda data, name, prose: ColourTask(name, digits=2),
    "practice": lambda data, name, prose: PracticeTask(prose),
    "practice_squad": lambda data, name, prose: practice_squad(data.path("squad", [name])),
    "practice_articles": lambda data, name, prose: practice_articles(
        data.path("squad", [name]), data.path("unanswerable", [name])
    ),
    "practice_hops": lambda data, name, prose: practice_hops(
        data.path("hotpotqa", [name]), data.path("paragraphs", [name])
    ),
    "practice_stories": lambda data, name, prose: practice_stories(data.path("stories", [name])),
    "squad_unanswerable": lambda data, name, prose: squad_unanswerable(
        data.path("squad", [name]), data.path("unanswerable", [name])
    ),
    "fairytale": lambda data, name, prose: fairytale(data.path("stories", [name])),
    "practice_hotpotqa": lambda data, name, prose: practice_hotpotqa(
        data.path("hotpotqa", [name]), data.path("paragraphs", [name])
    ),
    "squad_absent": lambda data, name, prose: squad_absent(data.path("squad", [name])),
    "hqa": lambda data, name, prose: hqa(data.path("hotpotqa", [name]), data.path("paragraphs", [name])),
}
RULER = [
    "niah_single_1", "niah_single_2", "niah_single_3", "niah_multikey_1", "niah_multikey_2", "niah_multikey_3",
    "niah_multivalue", "niah_multiquery", "vt", "cwe", "fwe", "qa_1", "qa_2",
]  # fmt: skip
"""Names of RULER's thirteen tasks."""
