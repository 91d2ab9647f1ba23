"""The protocol of readings, and Underway, which drives a reading.

A reading is a generator. It yields a Request and is sent its Completion. Or it yields a wave, a tuple of Requests that
may be completed at the same time, and is sent the tuple of their Completions. It yields a Memory to announce its new
memory, and returns the answer. It does no I/O. Whoever drives it decides where completions come from: a server, an
engine, a journal being replayed, a policy in training, or a list in a test.

If a prompt is longer than the model's window, the driver throws WindowOverflow into the reading, which may then ask
for less. For a wave, the driver throws WaveOverflow, which carries the completions of the other requests. `together`
lets parts of a reading advance at the same time, wave by wave.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any

from memagent.core.budget import Budget
from memagent.core.prompts import Prompts
from memagent.core.records import Completion, Memory, Message, Request, Segment, Turn
from memagent.errors import WindowOverflow

Reading = Generator[Request | tuple[Request, ...] | Memory, Any, str]

Reader = Callable[[str, Iterable[Segment], Budget, Prompts], Reading]
"""A function that takes a question and the segments of a document and returns a reading. See `memagent.readers`."""


class WaveOverflow(WindowOverflow):
    """Some requests of a wave did not fit. `completions` has the wave's completions, with None for those requests."""

    def __init__(self, message: str, completions: tuple[Completion | None, ...]) -> None:
        super().__init__(message)
        self.completions = completions


def shortest_prompts(reader: Reader, question: str, budget: Budget, prompts: Prompts) -> dict[str, tuple[Message, ...]]:
    """Return the conversation of each kind of request, for an empty segment and a model that writes nothing."""
    under_way = Underway(reader(question, [Segment(0, 0, "", 0)], budget, prompts))
    found: dict[str, tuple[Message, ...]] = {}
    while under_way.wanted:
        place, request = next(iter(under_way.wanted.items()))
        found.setdefault(request.kind, request.messages)
        under_way.take(Completion(""), place)
    return found


class Underway:
    """A reading being driven, from one wave to the next."""

    def __init__(self, reading: Reading) -> None:
        self.wanted: dict[int, Request] = {}
        """Requests of the wave that are not completed yet, by place in the wave. Empty once there is an answer."""
        self.wave: tuple[Request, ...] = ()
        """All requests of the current wave, completed or not."""
        self.memory = ""
        """Memory that the reading announced last."""
        self.answer = ""
        """Answer that the reading returned; empty before."""
        self.turns = 0
        """Number of finished turns."""
        self.waves = 0
        """Number of waves begun."""
        self._reading = reading
        self._alone = True  # whether the reading yielded a Request, not a tuple
        self._completions: dict[int, Completion] = {}
        self._overflow: WindowOverflow | None = None
        self._advance(lambda: next(reading))

    def take(self, completion: Completion, place: int = 0) -> Turn:
        """Take the completion of a wanted request. After the last one of a wave, go on to the next wave.

        Returns:
            The finished turn, with the memory after it.
        """
        request, wave = self.wanted.pop(place), self.waves - 1
        self._completions[place] = completion
        self.turns += 1
        self._go_on()
        return Turn(self.turns - 1, request, completion, self.memory, wave, place)

    def overflow(self, error: WindowOverflow, place: int = 0) -> None:
        """Report a request that did not fit. After the rest of its wave, the reading asks for less, or raises."""
        del self.wanted[place]
        self._overflow = error
        self._go_on()

    def _go_on(self) -> None:
        if self.wanted:
            return
        completions = tuple(map(self._completions.get, range(len(self.wave))))
        error, self._overflow, self._completions = self._overflow, None, {}
        if error:
            thrown = error if self._alone else WaveOverflow(str(error), completions)
            self._advance(lambda: self._reading.throw(thrown))
        else:
            self._advance(lambda: self._reading.send(completions[0] if self._alone else completions))

    def _advance(self, step: Callable[[], Request | tuple[Request, ...] | Memory]) -> None:
        """Take the reading to its next wave that is not empty, or to its answer."""
        try:
            while True:
                asked = step()
                if isinstance(asked, Memory):
                    self.memory, step = asked.text, lambda: next(self._reading)
                elif asked == ():
                    step = lambda: self._reading.send(())  # noqa: E731
                else:
                    break
        except StopIteration as stop:
            self.answer = stop.value
            return
        self._alone = isinstance(asked, Request)
        self.wave = (asked,) if isinstance(asked, Request) else asked
        self.wanted = dict(enumerate(self.wave))
        self.waves += 1


def together(parts: Iterable[Reading]) -> Generator[tuple[Request, ...], Any, list[str]]:
    """Let parts of a reading advance at the same time, and return what they return, in order.

    Each wave has all the requests that unfinished parts wait for. If a request does not fit, only the part that made it
    is told. Memories that parts announce are not passed on.
    """
    begun = [Underway(part) for part in parts]
    while wanted := [(part, place) for part in begun for place in part.wanted]:
        requests = tuple(part.wanted[place] for part, place in wanted)
        reason = ""
        try:
            completions: Sequence[Completion | None] = yield requests
        except WaveOverflow as error:
            completions, reason = error.completions, str(error)
        for (part, place), completion in zip(wanted, completions, strict=True):
            if completion is None:
                part.overflow(WindowOverflow(reason), place)
            else:
                part.take(completion, place)
    return [part.answer for part in begun]
