"""Running out of memory, said so that one knows what to lower."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from memagent.errors import ModelError

_CPU = ("can't allocate memory", "not enough memory")  # of PyTorch's allocator, which has no error class of its own


@contextmanager
def enough_memory(doing: str, setting: str, value: int) -> Iterator[None]:
    """What does not fit is a ModelError that names the setting which decides how much is needed.

    On a machine whose kernel promises more memory than there is, the process is killed instead: the same command goes
    on from the last checkpoint all the same.
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
        f"The memory is not enough for {doing}: set {setting} lower than {value:,}, and run the same command to go on "
        "from the last checkpoint."
    )
