"""Ask one question about one document, and watch the memory form: python examples/ask.py QUESTION DOCUMENT"""

from __future__ import annotations

import sys

from memagent import MemoryAgent, Turn, Watch


def show(question: int, turn: Turn) -> None:
    print(f"--- turn {turn.index + 1}\n{turn.memory}\n", file=sys.stderr)


if len(sys.argv) != 3:
    sys.exit(__doc__)
question, document = sys.argv[1:]
with MemoryAgent("local") as agent:
    answer = agent.ask(question, document, watch=Watch(on_turn=show))

print(answer.text)
for place in answer.citations:
    print(f"{place.document} {place.start}-{place.end}: {place.quote!r}")
