"""Loads a task from a Python file of your own: `mine.py:TASK` names a Task, or a callable that returns one."""

from __future__ import annotations

import inspect
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from memagent.errors import UsageError
from memagent.tasks.example import Task


def is_named(name: str) -> bool:
    """Whether the name has the form FILE.py:NAME."""
    file, colon, attribute = name.rpartition(":")
    return bool(colon) and file.endswith(".py") and attribute.isidentifier()


def load_task(name: str) -> Task:
    """Run the file and return the task that FILE.py:NAME names.

    Raises:
        UsageError: there is no such file, it cannot be run, or it has no such task.
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
        raise UsageError(
            f"{attribute} in {path} is not a task (it has no {missing[0]}): see memagent.tasks.example.Task."
        )
    loaded: Task = task
    return loaded


def file_of(task: Task) -> tuple[str, ...]:
    """Return the file that a task was loaded from; empty for memagent's own tasks."""
    return () if type(task).__module__.startswith("memagent.") else (inspect.getfile(type(task)),)


_MEMBERS = ("name", "metrics", "answer_tokens", "size", "units", "placed", "together", "example", "memories")
