"""Out-of-memory errors that name the setting to lower."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from memagent.errors import ModelError

_CPU = ("can't allocate memory", "not enough memory")  # from PyTorch's CPU allocator, which has no error class


@contextmanager
def enough_memory(doing: str, setting: str, value: int) -> Iterator[None]:
    """Turn an out-of-memory error into a ModelError that names the setting to lower.

    A kernel that overcommits memory kills the process instead. Even then, the same command resumes from the last
    checkpoint.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise _sentence(doing, setting, value) from error
    except RuntimeError as error:
        if not any(sign in str(error) for sign in _CPU):
            raise
        raise _sentence(doing, setting, value) from error


def _sentence(doing: str, setting: str, value: int) -> ModelError:
    return ModelError(
        f"There is not enough memory for {doing}: set {setting} lower than {value:,}, and run the same command to "
        "resume from the last checkpoint."
    )
