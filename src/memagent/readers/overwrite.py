"""THE LOOP. A reading is a generator that yields Requests and is sent Completions; it does no I/O.

Whoever drives it decides where completions come from: a server, an engine on this machine, a journal being
replayed, a policy under training, or a list in a test. Other ways to read are other generators of this type.

One departure from the paper: when a model says that a prompt is longer than its window, the driver throws
WindowOverflow in here, and the segment is read as two halves.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable

from memagent.core.budget import Budget
from memagent.core.prompts import NO_MEMORY, Prompts, fill
from memagent.core.records import Completion, Message, Request, Segment, Turn
from memagent.core.segments import halves
from memagent.errors import WindowOverflow

Reading = Generator[Request, Completion, str]
Step = Callable[[str, str, Segment, Budget, Prompts], Reading]
"""From question, memory and segment to the next memory."""


def overwrite(question: str, memory: str, segment: Segment, budget: Budget, prompts: Prompts) -> Reading:
    """The paper's step: what the model writes is the next memory. See `memagent.readers.quotes` for another.

    A model that writes nothing leaves the memory as it was: an empty reply is a failure, not a decision to forget.
    """
    written = (yield update(question, memory, segment, budget, prompts)).text
    return written if written.strip() else memory


def reading(
    question: str, segments: Iterable[Segment], budget: Budget, prompts: Prompts, step: Step = overwrite
) -> Reading:
    """Read `segments` one by one, a `step` each, then answer `question` from the last memory alone.

    Yields Requests and must be sent the Completion of each. Returns the answer as the model wrote it.
    """
    memory = NO_MEMORY
    for segment in segments:
        memory = yield from memorize(question, memory, segment, budget, prompts, step)
    return (yield answer(question, memory, budget, prompts)).text


def memorize(question: str, memory: str, segment: Segment, budget: Budget, prompts: Prompts, step: Step) -> Reading:
    """The next memory. A segment that overflows the window is read as two halves."""
    try:
        return (yield from step(question, memory, segment, budget, prompts))
    except WindowOverflow:
        if len(segment.text) < 2:
            raise
        for half in halves(segment):
            memory = yield from memorize(question, memory, half, budget, prompts, step)
        return memory


def update(question: str, memory: str, segment: Segment, budget: Budget, prompts: Prompts) -> Request:
    """It sees the question, the memory so far and one segment."""
    text = fill(prompts.update, prompt=question, memory=memory, chunk=segment.text)
    return Request((Message("user", text),), budget.memory, segment, memory)


def answer(question: str, memory: str, budget: Budget, prompts: Prompts) -> Request:
    """The last step: it sees the question and the memory, and nothing of the document."""
    text = fill(prompts.answer, prompt=question, memory=memory)
    return Request((Message("user", text),), budget.answer, memory=memory, kind="answer")


class Underway:
    """A reading being driven: what it wants next, and at the end what it returned."""

    def __init__(self, steps: Reading) -> None:
        self.request: Request | None = None
        """To be completed; None once there is an answer."""
        self.answer = ""
        self.turns = 0
        """How many steps are finished."""
        self._steps = steps
        self._advance(lambda: next(steps))

    def take(self, completion: Completion) -> Turn:
        """Go on to the next request. Returns the finished step."""
        request = self.request
        assert request is not None
        self._advance(lambda: self._steps.send(completion))
        memory = self.request.memory if self.request else None
        self.turns += 1
        return Turn(self.turns - 1, request, completion, None if memory == completion.text else memory)

    def overflow(self, error: WindowOverflow) -> None:
        """The prompt was too long: the reading asks again with less, or raises."""
        self._advance(lambda: self._steps.throw(error))

    def _advance(self, step: Callable[[], Request]) -> None:
        try:
            self.request = step()
        except StopIteration as stop:
            self.request, self.answer = None, stop.value
