"""Drive THE LOOP by hand. It does no I/O, so any program can supply its completions.

Here they come from a function. They might come from a queue, a game, or a person at the keyboard.
"""

from __future__ import annotations

from memagent import Budget, ByteTokenizer, Completion, Request, Underway, overwrite, segments
from memagent.core.prompts import prompts_for

TEXT = "Nobody was about. " * 10 + "The keeper hid the compass in the oven. " + "Nobody saw it. " * 10


def complete(request: Request) -> Completion:
    """Complete a request like a model that notes whether it saw an oven."""
    if request.kind == "answer":
        return Completion("\\boxed{in the oven}" if "oven" in request.messages[0].content else "\\boxed{unknown}")
    seen = "oven" in request.messages[0].content
    return Completion("The compass is in the oven." if seen else "Nothing yet.")


under = Underway(overwrite("Where is the compass?", segments([TEXT], 100, ByteTokenizer()), Budget(), prompts_for()))
while under.wanted:
    turn = under.take(complete(under.wanted[0]))
    print(turn.request.kind, turn.completion.text)
print(under.answer)
