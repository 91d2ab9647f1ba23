"""A task out of a Python file of one's own: `mine.py:TASK`, a Task or what makes one when it is called."""

from __future__ import annotations

import inspect
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from memagent.errors import UsageError
from memagent.tasks.example import Task


def is_named(name: str) -> bool:
    """Whether it is FILE.py:NAME."""
    file, colon, attribute = name.rpartition(":")
    return bool(colon) and file.endswith(".py") and attribute.isidentifier()


def load_task(name: str) -> Task:
    """The task that FILE.py:NAME names. The file is run.

    Raises:
        UsageError: there is no such file, it is no Python, or it has no such task.
    """
    path, _, attribute = name.rpartition(":")
    spec = spec_from_file_location(f"task_{Path(path).stem}", path)
    if spec is None or spec.loader is None or not Path(path).is_file():
        raise UsageError(f"There is no file {path}: check the path.")
    module = sys.modules[spec.name] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (SyntaxError, ImportError) as error:
        raise UsageError(f"{path} cannot be run ({error}): correct it.") from error
    found = getattr(module, attribute, None)
    task: Any = found() if callable(found) else found
    if missing := [each for each in _MEMBERS if not hasattr(task, each)]:
        raise UsageError(f"{attribute} in {path} is no task (it has no {missing[0]}): see memagent.tasks.example.Task.")
    loaded: Task = task
    return loaded


def file_of(task: Task) -> tuple[str, ...]:
    """The file that a task was loaded from; none for memagent's own."""
    return () if type(task).__module__.startswith("memagent.") else (inspect.getfile(type(task)),)


_MEMBERS = ("name", "metrics", "answer_tokens", "size", "units", "placed", "together", "example", "memories")
