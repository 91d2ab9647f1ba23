"""Drive THE LOOP by hand: it does no I/O, so any program can supply its completions.

Here they come from a function; they might come from a queue, a game, or a person at the keyboard.
"""

from __future__ import annotations

from memagent import Budget, ByteTokenizer, Completion, Request, reading, segments
from memagent.core.prompts import prompts_for

TEXT = "Nobody was about. " * 10 + "The keeper hid the compass in the oven. " + "Nobody saw it. " * 10


def complete(request: Request) -> Completion:
    """A reader that remembers whether it saw an oven."""
    if request.segment is None:
        return Completion("\\boxed{in the oven}" if "oven" in request.messages[0].content else "\\boxed{unknown}")
    seen = "oven" in request.messages[0].content
    return Completion("The compass is in the oven." if seen else "Nothing yet.")


steps = reading("Where is the compass?", segments([TEXT], 100, ByteTokenizer()), Budget(), prompts_for())
request = next(steps)
while True:
    completion = complete(request)
    print(request.segment and (request.segment.start, request.segment.end), completion.text)
    try:
        request = steps.send(completion)
    except StopIteration as done:
        print(done.value)
        break
