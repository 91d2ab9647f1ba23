"""Compares greedy texts of the same weights in transformers (float32) and in OpenVINO (rounded for it).

    python benchmarks/agreement.py [ADAPTER or a name of the catalogue; the default model if left out]

The 50 prompts come from readings by the engine, so they hold the memories that it meets. A model without an adapter
reads short sections into short memories, because transformers takes a quarter of a second a token.
"""

from __future__ import annotations

import asyncio
import sys

from common import clock, figure

from memagent import Budget, MemoryAgent, Request, text_document
from memagent.models.catalogue import MODELS, model_path
from memagent.models.catalogue.policies import POLICIES, policy_folder
from memagent.models.chat import Chat
from memagent.models.connect import connect
from memagent.tasks.catalog import Data
from memagent.tasks.example import Length, parse_length
from memagent.train.loading import dequantised

Documents = tuple[Length, int, Budget | None]
"""Length of the documents, number for each task, and budget for reading them."""

TASKS = ["niah_single_1", "niah_multikey_2", "niah_multikey_3", "vt"]
PROMPTS = 50
ADAPTED: Documents = parse_length("8k"), 3, None
BARE: Documents = parse_length("4k"), 1, Budget(segment=300, memory=24, answer=24)


def requests(model: str, length: Length, examples: int, budget: Budget | None) -> list[Request]:
    found: list[Request] = []
    with MemoryAgent(model, budget=budget) as agent:
        tokenizer = agent.chat.tokenizer
        for task in Data().tasks(TASKS):
            for number in range(examples):
                example = task.example(length, number, 0, tokenizer)
                with text_document(example.document) as document:
                    found += [turn.request for turn in agent.ask(example.question, document).trace.turns]
    return [found[place * len(found) // PROMPTS] for place in range(PROMPTS)]


async def replies(chat: Chat, asked: list[Request]) -> list[str]:
    """Complete one prompt after another. Together they would be computed, and so rounded, in an order of their own."""
    await chat.open()
    found = [(await chat.complete(request)).text for request in asked]
    await chat.close()
    return found


def main(model: str = "") -> None:
    model = model or str(policy_folder(POLICIES["local"]))
    if model in MODELS:
        names, documents = (model, f"checkpoint:{dequantised(model_path(model))}"), BARE
    else:
        names, documents = (f"local:{model}", f"checkpoint:{model}"), ADAPTED
    asked = requests(names[0], *documents)
    with clock() as engine:
        ours = asyncio.run(replies(connect(names[0]), asked))
    with clock() as torch:
        theirs = asyncio.run(replies(connect(names[1]), asked))
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
