"""Measures how much faster prompt lookup writes memories, and whether the text stays the same.

Both variants, with and without prompt lookup, get the same prompts. One set are the memory steps of a reading, in which
an untrained model often repeats itself. The other set asks for copies of plain prose, because a trained reader mostly
copies.
"""

from __future__ import annotations

import asyncio
import time

from common import figure, text

from memagent import Budget, MemoryAgent, text_document
from memagent.core.records import Message, Request
from memagent.models.local import LocalChat

STEPS, MEMORY = 6, 400


def reading_steps() -> list[Request]:
    with (
        MemoryAgent(
            LocalChat("tiny"), budget=Budget(segment=2000, memory=MEMORY, answer=16), reader="overwrite"
        ) as agent,
        text_document(text(STEPS * 8500)) as document,
    ):
        answer = agent.ask("Who is Pierre?", document)
    return [turn.request for turn in answer.trace.memories][:STEPS]


def copying_steps() -> list[Request]:
    prose = text(200_000)[100_000:]
    pieces = [prose[start : start + 1200] for start in range(0, STEPS * 1200, 1200)]
    return [Request((Message("user", f"{piece}\n\nRepeat the text above word for word."),), MEMORY) for piece in pieces]


async def write(chat: LocalChat, requests: list[Request]) -> tuple[list[str], int, float]:
    """Return the texts, and the tokens and seconds from the first token to the last."""
    await chat.open()
    texts, tokens, seconds = [], 0, 0.0
    for request in requests:
        times: list[float] = []

        def note(text: str, times: list[float] = times) -> None:
            times.append(time.perf_counter())

        completion = await chat.complete(request, note)
        seconds += times[-1] - times[0]
        tokens += completion.usage.completion_tokens - 1
        texts.append(completion.text)
    return texts, tokens, seconds


def main() -> None:
    for name, requests in (("reading", reading_steps()), ("copying", copying_steps())):
        plain_texts, plain_tokens, plain = asyncio.run(write(LocalChat("tiny", prompt_lookup=False), requests))
        texts, tokens, seconds = asyncio.run(write(LocalChat("tiny"), requests))
        differ = sum(one != two for one, two in zip(plain_texts, texts, strict=True))
        ratio = (tokens / seconds) / (plain_tokens / plain)
        figure(
            f"lookup: decoding, {name}, {STEPS} steps",
            f"{plain_tokens / plain:.0f} -> {tokens / seconds:.0f} tokens/s = {ratio:.2f} x",
            f"goal: at least 2; texts that differ: {differ}",
        )


if __name__ == "__main__":
    main()
