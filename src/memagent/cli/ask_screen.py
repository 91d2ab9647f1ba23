"""Progress while reading, on stderr: the questions, a bar with segments, speed and time left, and the changing memory.

If stderr is not a terminal, a plain line at most once a second.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.text import Text

from memagent.cli.terminal import Terminal
from memagent.core.records import Turn
from memagent.evidence.timeline import Change, changed, picture
from memagent.runs.watch import Watch

_DRAFT = 400  # characters shown of the completion in progress


class ReadingScreen:
    """Shows a command's readings of `document`. A context manager that returns the Watch to read with."""

    def __init__(self, questions: Sequence[str], document: str, model: str, console: Console | None = None) -> None:
        self._console = console or Terminal(stderr=True)
        self._questions, self._document, self._model = questions, document, model
        self._resumed = ""
        self._progress = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[facts]}"),
            console=self._console,
        )  # fmt: skip
        self._task = self._progress.add_task(f"loading {model}", total=None, facts="")
        self._live = Live(console=self._console, refresh_per_second=4, transient=True)
        self._change, self._change_title = Text("empty", style="dim"), "memory"
        self._draft, self._draft_title = Text(""), "writing"
        self._memories = [""] * len(questions)
        self._seen: list[set[tuple[int, int]]] = [set() for _ in questions]  # segments that each question has read
        self._characters = self._read = self._tokens = self._segments = 0
        self._here = 0  # characters that this process has read
        self._began = self._said = time.perf_counter()

    def __enter__(self) -> Watch:
        if self._console.is_terminal:
            self._live.start()
            self._refresh()
        else:
            self._print(f"loading {self._model}")
        on_text = self._on_text if self._console.is_terminal else None
        return Watch(self._on_start, on_text, self._on_turn, self._on_silence)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def _on_start(self, characters: int, resumed: int, read: int) -> None:
        self._characters = characters * len(self._questions)
        self._read = read
        self._began = time.perf_counter()
        self._progress.update(
            self._task, description="reading", total=max(self._characters, 1), completed=read, facts=""
        )
        if resumed:
            self._resumed = f", resumed after {resumed:,} finished {'turn' if resumed == 1 else 'turns'}"
        if not self._console.is_terminal:
            self._print(f"reading {self._document} ({characters:,} characters){self._resumed}")
        self._refresh()

    def _on_text(self, question: int, text: str) -> None:
        self._draft_title = f"writing{self._of(question)}"
        self._draft = Text(text[-_DRAFT:], style="dim")
        self._refresh()

    def _on_turn(self, question: int, turn: Turn) -> None:
        usage, segment = turn.completion.usage, turn.request.segment
        answered = turn.request.kind == "answer"
        self._tokens += usage.total_tokens
        if segment:
            if segment.origin not in self._seen[question]:  # not a segment that is read again
                self._seen[question].add(segment.origin)
                start, end = segment.origin
                self._segments += 1
                self._read += end - start
                self._here += end - start
            if self._console.is_terminal:
                change: Change = changed(self._memories[question], turn)
                self._memories[question] = turn.memory
                self._change_title = f"memory{self._of(question)}"
                self._change = picture(change)
        self._progress.update(self._task, completed=self._read, facts=self._facts())
        self._refresh()
        if not self._console.is_terminal and (time.perf_counter() - self._said > 1 or answered):
            self._said = time.perf_counter()
            self._print(f"answered{self._of(question)}" if answered else self._facts())

    def _on_silence(self, question: int, seconds: float) -> None:
        if question == 0:  # all questions wait for the same model
            said = f"The model has written nothing for {seconds:,.0f} s; still waiting."
            self._console.print(said, style="yellow", highlight=False)

    def _facts(self) -> str:
        seconds = max(time.perf_counter() - self._began, 1e-9)
        share = self._read / max(self._characters, 1)
        facts = f"{share:.0%}  {self._tokens / seconds:,.0f} tokens/s"
        if self._here:
            each = self._here / self._segments
            facts = f"segment {self._read / each:,.0f} of about {self._characters / each:,.0f}  {facts}"
            facts += f"  {_clock((self._characters - self._read) * seconds / self._here)} left"
        return facts

    def _of(self, question: int) -> str:
        return f" of question {question + 1}" if len(self._questions) > 1 else ""

    def _print(self, line: str) -> None:
        self._console.print(line, style="dim", highlight=False, soft_wrap=True)

    def _refresh(self) -> None:
        if self._console.is_terminal:
            title = Text(f"{' · '.join(self._questions)}\n", style="bold", end="", overflow="ellipsis", no_wrap=True)
            title.append(f"{self._document}{self._resumed}", style="dim")
            panels = [(self._change, self._change_title), (self._draft, self._draft_title)]
            boxes = [Panel(body, title=title, title_align="left") for body, title in panels]
            self._live.update(Group(title, self._progress, *boxes))


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
