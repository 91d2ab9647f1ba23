"""Measures how fast each reader is on a text of 400,000 tokens, with a perfect model on a simulated server.

    python benchmarks/readers.py [TOKENS] [READER...]

The server takes 0.2 ms for each token of a prompt and 5 ms for each token that it writes, and works on 16 requests at
once. A book hides 24 facts of about 25 tokens in three places: after a tenth, a fifth and three fifths of its text. So
a memory that is written again at each step has 420 tokens on average. The question asks for all 24 facts.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time

from client import prose
from common import clock, figure
from simulated import Server, serve, serving

from memagent import MemoryAgent, text_document
from memagent.core.prompts import GATE
from memagent.core.tokenizer import count
from memagent.models.http import HttpChat
from memagent.models.weights import find_weights

TOKENIZER = find_weights("smollm2-135m").tokenizer
PREFILL, DECODE = 0.0002, 0.005  # seconds a token
AT_ONCE = 16
TOKENS = 400_000
FACTS = [
    f"The keeper of lighthouse {number} hides the brass key {number * 7919 % 10007:05} behind the barometer."
    for number in range(24)
]
PLACES = (0.1, 0.2, 0.6)
QUESTION = "Which brass key does the keeper of each of the 24 lighthouses hide behind the barometer?"
READERS = ("overwrite", "gated", "parallel", "search", "reread", "exit")
GOALS = {"gated": 2.5, "parallel": 8, "search": 15}

_FACT = re.compile(r"The keeper of lighthouse \d+ hides the brass key \d{5} behind the barometer\.")


def tokens_of(text: str) -> int:
    assert TOKENIZER is not None
    return count(TOKENIZER, text)


def perfect(prompt: str) -> str:
    """Reply as a perfect model does to the prompts of readers with a memory in the model's own words."""
    found = list(dict.fromkeys(_FACT.findall(prompt)))
    if "<section>" in prompt:
        section = prompt[prompt.index("<section>") : prompt.index("</section>")]
        if GATE in prompt and not _FACT.search(section):
            return "NO CHANGE"
        return "\n".join(found) or "Nothing about keepers yet."
    if "YES, or NO" in prompt:
        return "YES" if len(found) == len(FACTS) else "NO: keeper lighthouse brass key barometer"
    if "<notes>" in prompt:
        return "\n".join(found)
    return "\\boxed{" + ", ".join(sorted(re.findall(r"key (\d{5})", prompt))) + "}"


class Reading(Server):
    """Replies as a perfect model does, in the time that a real server would take."""

    def __init__(self) -> None:
        super().__init__()
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def reply(self, body: bytes) -> tuple[str, int, int]:
        async with self._slots:
            began = time.perf_counter()
            prompt = json.loads(body)["messages"][0]["content"]
            text = perfect(prompt)
            read, written = tokens_of(prompt), tokens_of(text)
            await asyncio.sleep(max(read * PREFILL + written * DECODE - (time.perf_counter() - began), 0))
        return text, read, written


def document(tokens: int) -> str:
    """Return a book of about this many tokens that contains the facts."""
    text = prose(tokens * 4)
    text = text[: int(len(text) * tokens / tokens_of(text))]
    third = len(FACTS) // len(PLACES)
    for number, place in reversed(list(enumerate(PLACES))):
        at = text.index("\n\n", int(place * len(text)))
        text = "\n\n".join([text[:at], " ".join(FACTS[number * third : (number + 1) * third]), text[at + 2 :]])
    return text


def read(reader: str, text: str) -> tuple[float, bool, int, int]:
    """Return the seconds, whether the answer is right, and the numbers of calls and tokens."""
    with (
        serving(__file__, "serve") as (url, _),
        MemoryAgent(HttpChat("m", base_url=url, api_key="k", tokenizer=TOKENIZER), reader=reader) as agent,
        text_document(text) as opened,
        clock() as seconds,
    ):
        answer = agent.ask(QUESTION, opened)
    right = answer.text == ", ".join(sorted(re.findall(r"key (\d{5})", " ".join(FACTS))))
    return seconds[0], right, len(answer.trace.turns), answer.usage.total_tokens


def main(tokens: int = TOKENS, readers: tuple[str, ...] = READERS) -> None:
    text = document(tokens)
    slowest = 0.0
    for reader in readers:
        seconds, right, calls, spent = read(reader, text)
        slowest = slowest or seconds
        found = f"{seconds:.1f} s = {slowest / seconds:.1f} x, {'all right' if right else 'WRONG'}, {calls} calls"
        goal = f"goal: at least {GOALS[reader]:g} x" if reader in GOALS else ""
        figure(f"readers: {reader}, {tokens:,} tokens", f"{found}, {spent:,} tokens", goal)


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        asyncio.run(serve(Reading()))
    else:
        given = sys.argv[1:]
        main(int(given[0]) if given else TOKENS, tuple(given[1:]) or READERS)
