"""The command line: parse, call, print. `main` turns errors into one sentence and an exit status.

Exit status: 0 done, 1 a wrong answer where one is checked (`demo`), 2 usage, 3 the document, 4 the model or its
server, 5 stopped early and resumable (a limit, a full disk), 130 interrupted.
"""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from importlib.metadata import version
from types import FrameType, TracebackType
from typing import Annotated, NoReturn

import typer

from memagent.cli.options import debugging
from memagent.errors import MemagentError, Stopped, UsageError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Read a text of any length with any model: segment by segment, with one memory of fixed length.",
    epilog="Exit status: 0 done, 1 wrong answer (demo), 2 usage, 3 document, 4 model or server, "
    "5 stopped early and resumable, 130 interrupted.",
)

KEPT = dict.fromkeys(("ask", "bench"), " What was read is kept. Run the same command to resume.")
"""What each command says after "Interrupted."; a command may replace its sentence with a more precise one."""
KEPT["models"] = " What was downloaded is kept. Run the same command to resume."
KEPT["serve"] = " Unfinished readings go on when the service starts again."
KEPT["train"] = " Run the same command to resume from the last checkpoint."


def _version(asked: bool) -> None:
    if asked:
        print(version("memagent"))
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options of the program itself. Its help text is the app's."""


def main() -> None:
    """Run the program `memagent`."""
    from memagent.cli import ask, bench, demo, models, runs, serve, show, train  # noqa: F401  (each adds its command)

    sys.excepthook = _say_unexpected
    for stream in (sys.stdout, sys.stderr):  # an answer must not be lost because a terminal lacks a character
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGTERM, _interrupt)
    if sys.stdout is None:
        _say("Error: Standard output is closed, so nothing could be printed: open it.")
        sys.exit(UsageError.status)
    command = typer.main.get_command(app)  # app() would replace our excepthook with its own
    try:
        command(prog_name="memagent")
    except MemagentError as error:
        if debugging():
            raise
        _say(f"Error: {error}")
        sys.exit(error.status)
    except SystemExit as done:
        if done.code == 130:  # typer's exit status for KeyboardInterrupt
            _say(f"Interrupted.{_kept()}")
        _flush()
        raise
    except _cancelled():  # raised by tasks that _interrupt cancelled
        _say(f"Interrupted.{_kept()}")
        sys.exit(130)
    except OSError as error:
        if debugging() or error.errno != errno.ENOSPC:
            raise
        _unprintable(error)


def _flush() -> None:
    """Flush standard output while a failure can still be reported."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # the reading end was closed, as by `head`
        _drop_output()
    except OSError as error:
        _unprintable(error)


def _unprintable(error: OSError) -> NoReturn:
    _drop_output()
    _say(f"Error: The output cannot be written ({error.strerror}).{_kept()}")
    sys.exit(Stopped.status)


def _drop_output() -> None:
    """Redirect standard output to the null device, because Python flushes again at exit and would complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _kept() -> str:
    return KEPT.get("".join(sys.argv[1:2]), "")


def _interrupt(_: int, frame: FrameType | None) -> None:
    """Treat SIGTERM, which schedulers send to end programs, like Ctrl-C, even if Ctrl-C is ignored."""
    ctrl_c = signal.getsignal(signal.SIGINT)  # an event loop has its own handler, unless SIGINT is ignored
    asyncio = sys.modules.get("asyncio")
    if not callable(ctrl_c) and asyncio and (loop := asyncio._get_running_loop()):
        for task in asyncio.all_tasks(loop):
            task.cancel()  # raising here would break off a task and print its traceback
    else:
        (ctrl_c if callable(ctrl_c) else signal.default_int_handler)(signal.SIGINT, frame)


def _cancelled() -> tuple[type[BaseException], ...]:
    """The exception of a cancelled task; empty if asyncio is not loaded."""
    return (sys.modules["asyncio"].CancelledError,) if "asyncio" in sys.modules else ()


def _say(sentence: str) -> None:
    from memagent.cli.terminal import visible

    print(visible(sentence), file=sys.stderr)


def _say_unexpected(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Report a bug, ours or a library's, in one sentence; print the traceback only with --debug."""
    if debugging():
        sys.__excepthook__(kind, error, trace)
    else:
        _say(f"memagent failed unexpectedly ({kind.__name__}: {error}); run it with --debug and report what it prints.")
