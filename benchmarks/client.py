"""Measures how long a server waits between two turns, and the turns per second with a server that replies at once.

The server is simulated (`simulated.py`); the tokenizer and the journal with its fsync are real.
"""

from __future__ import annotations

import asyncio
import resource
import tempfile
from pathlib import Path
from statistics import fmean

from common import clock, figure, text
from simulated import simulated

from memagent import Answer, MemoryAgent, text_document
from memagent.models.http import HttpChat
from memagent.models.weights import find_weights

TOKENIZER = find_weights("smollm2-135m").tokenizer
STALL = 400_000  # tokens
LONG = 2_000_000


def prose(characters: int) -> str:
    books = ["les-mis-rables", "war-and-peace", "don-quixote", "anna-karenina"]
    return "".join(text(min(characters, 2_280_000), book) for book in books)[:characters]


def read(
    tokens: int, questions: int, seconds: float, jitter: float = 0.0, apart: bool = False
) -> tuple[float, int, list[float]]:
    """Return seconds, turns, and for each question the mean seconds between a reply and the next request.

    Args:
        apart: whether each question is read separately, all at once, so that none waits for another.
    """
    asked = [f"Who hid the compass, question-{number}?" for number in range(questions)]
    with (
        tempfile.TemporaryDirectory() as folder,
        simulated(seconds, jitter) as (url, seen),
        MemoryAgent(HttpChat("m", base_url=url, api_key="k", tokenizer=TOKENIZER)) as agent,
        text_document(prose(tokens * 9 // 2)) as document,
    ):
        runs = [Path(folder) / str(number) for number in range(questions)]

        async def each_apart() -> list[Answer]:
            readings = zip(asked, runs, strict=True)
            return await asyncio.gather(*(agent.ask_async(each, document, run=run) for each, run in readings))

        with clock() as spent:
            answers = asyncio.run(each_apart()) if apart else agent.ask_many(asked, document, runs=runs)
        turns = sum(len(answer.trace.turns) for answer in answers)
    return spent[0], turns, [fmean(waits) for waits in seen.values()]


def main() -> None:
    spent, turns, _ = read(LONG, 1, 0.0)
    figure("client: turns a second, a server without delay", f"{turns / spent:.0f} of {turns}", "goal: at least 150")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    figure("client: memory", f"{peak:.0f} MB", "goal: under 200 MB")
    for questions in (1, 4):
        _, _, waits = read(STALL, questions, 0.2)
        wait = f"{max(waits) * 1000:.1f} ms a turn"
        figure(f"client: a server waits, {questions} questions", wait, "goal: under 15 ms")
    together, alone = (read(STALL, 4, 0.2, jitter=0.5, apart=apart)[0] for apart in (False, True))
    figure("client: replies of 0.1 to 0.3 s, together / apart", f"{together / alone:.2f}", "goal: at most 1.10")


if __name__ == "__main__":
    main()
