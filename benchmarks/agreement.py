"""The same adapter through transformers (float32) and through OpenVINO (merged, float16): the same greedy text?

50 prompts of readings as the engine made them, so that they hold the memories that it meets.
"""

from __future__ import annotations

import asyncio
import sys

from common import clock, figure

from memagent import MemoryAgent, Request, text_document
from memagent.chat import Chat
from memagent.chat.connect import connect
from memagent.chat.weights import POLICY
from memagent.tasks.catalog import Data
from memagent.tasks.example import parse_length

TASKS = ["niah_single_1", "niah_multikey_2", "niah_multikey_3", "vt"]
LENGTH, EXAMPLES, PROMPTS = parse_length("8k"), 3, 50


def requests(model: str) -> list[Request]:
    found: list[Request] = []
    with MemoryAgent(model) as agent:
        tokenizer = agent.chat.tokenizer
        for task in Data().tasks(TASKS):
            for number in range(EXAMPLES):
                example = task.example(LENGTH, number, 0, tokenizer)
                with text_document(example.document) as document:
                    found += [turn.request for turn in agent.ask(example.question, document).trace.turns]
    return [found[place * len(found) // PROMPTS] for place in range(PROMPTS)]


async def replies(chat: Chat, asked: list[Request]) -> list[str]:
    """One prompt after the other: together they would be computed in an order, and so rounded, of their own."""
    await chat.open()
    found = [(await chat.complete(request)).text for request in asked]
    await chat.close()
    return found


def main(adapter: str = str(POLICY)) -> None:
    asked = requests(f"local:{adapter}")
    with clock() as engine:
        ours = asyncio.run(replies(connect(f"local:{adapter}"), asked))
    with clock() as torch:
        theirs = asyncio.run(replies(connect(f"checkpoint:{adapter}"), asked))
    differ = [(one, other) for one, other in zip(ours, theirs, strict=True) if one != other]
    figure(
        f"agreement: {PROMPTS} prompts, OpenVINO and transformers",
        f"{len(differ)} texts differ",
        f"{engine[0]:.0f} s and {torch[0]:.0f} s",
    )
    for one, other in differ:
        print(f"  OpenVINO:     {one!r}\n  transformers: {other!r}")


if __name__ == "__main__":
    main(*sys.argv[1:])
