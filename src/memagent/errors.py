"""All errors that memagent raises on purpose. Each class has the exit status that the command line ends with.

    MemagentError
    ├── UsageError            2   a wrong flag or value
    │   ├── BudgetError       2   the budget or the question does not fit the model's window
    │   └── RunError          2   the run directory is in use, damaged, or belongs to another reading
    ├── DocumentError         3   missing, empty, binary, undecodable, protected …
    ├── ModelError            4   the model or its server
    │   └── WindowOverflow    4   a prompt is longer than the window; the reader splits the segment
    └── Stopped               5   stopped early; paid turns are kept, and the same command resumes
        ├── LimitReached      5   --max-tokens or --max-cost
        └── StorageError      5   the journal could not be written (a full disk …)

A message says what was wrong and what to do next, in one sentence or two. Ctrl-C and SIGTERM end with 130.
"""

from __future__ import annotations


class MemagentError(Exception):
    """Base class of all errors raised on purpose."""

    status = 1


class UsageError(MemagentError):
    status = 2


class BudgetError(UsageError):
    pass


class RunError(UsageError):
    pass


class DocumentError(MemagentError):
    status = 3


class ModelError(MemagentError):
    status = 4


class WindowOverflow(ModelError):
    pass


class Stopped(MemagentError):
    status = 5


class LimitReached(Stopped):
    pass


class StorageError(Stopped):
    pass
