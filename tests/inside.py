"""Runs a command in this process. That is faster than a process of its own, which only some tests need."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from unittest.mock import patch

from memagent.cli import main


def inside(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `memagent ARGUMENTS`, and return its exit status and output as `subprocess.run` does."""
    out, err, status = io.StringIO(), io.StringIO(), 0
    terminate = signal.getsignal(signal.SIGTERM)
    with (
        redirect_stdout(out),
        redirect_stderr(err),
        patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO())),
        patch.object(sys, "argv", ["memagent", *arguments]),
        patch.object(sys, "excepthook", sys.excepthook),
        patch.dict(os.environ, environment),
    ):
        try:
            main()
        except SystemExit as done:
            status = done.code if isinstance(done.code, int) else 0
        finally:
            signal.signal(signal.SIGTERM, terminate)
    return subprocess.CompletedProcess(["memagent", *arguments], status, out.getvalue(), err.getvalue())
