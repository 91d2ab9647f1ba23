"""Twelve random server faults in 2,000 calls: every run finishes by itself and reads every section exactly once."""

from __future__ import annotations

import random
import re
import threading

import pytest
from fault_server import Body, Fault, FaultServer, Reply, cut, ok, raw, status

from memagent import Budget, MemoryAgent, text_document
from memagent.models.http import HttpChat

QUESTIONS, SECTIONS = 8, 249
SHARE = 0.05  # of the calls that fail
SENTENCE = "The river runs slowly past the old mills of the valley. "
_CODE, _SUM = re.compile(r"code-(\d+)"), re.compile(r"sum-(\d+)")


def adding(body: Body) -> Reply:
    """Reply with the sum of the codes so far. A section that is left out or read twice changes the sum."""
    text = body["messages"][0]["content"]
    total = sum(map(int, _SUM.findall(text))) + sum(map(int, _CODE.findall(text)))
    return ok(f"sum-{total}" if "<section>" in text else f"\\boxed{{{total}}}")(body)


FAULTS: dict[str, Fault] = {
    "500": status(500),
    "503 with a page": lambda _: Reply(b"<html>Bad gateway</html>", 503, "text/html"),
    "429": status(429, headers={"Retry-After": "0"}),
    "408": status(408),
    "cut in the middle": cut(adding),
    "cut, and nothing told": cut(adding, silent=True),
    "nothing at all": raw(""),
    "no JSON": raw("{"),
    "a page with status 200": raw("<html>Welcome</html>", "text/html"),
    "no choices": raw('{"object": "chat.completion", "choices": []}'),
    "null": ok(None),
    "empty": ok(""),
}


class Random:
    """Replies correctly to most requests, and to a few of them with one of the faults."""

    def __init__(self, seed: int) -> None:
        self._draw, self._lock = random.Random(seed), threading.Lock()
        self.made = dict.fromkeys(FAULTS, 0)

    def __call__(self, body: Body) -> Reply:
        with self._lock:
            fails = self._draw.random() < SHARE
            name = self._draw.choice(list(FAULTS))
            self.made[name] += fails
        return (FAULTS[name] if fails else adding)(body)


@pytest.mark.slow
def test_two_thousand_calls() -> None:
    document = "\n\n".join(f"{SENTENCE * 6}The code is code-{number}." for number in range(1, SECTIONS + 1))
    fault = Random(3)
    with FaultServer([fault]) as server:
        chat = HttpChat("m", base_url=server.url, api_key="k")
        with (
            MemoryAgent(chat, budget=Budget(segment=130, memory=64, answer=64)) as agent,
            text_document(document) as opened,
        ):
            answers = agent.ask_many([f"What is the sum, asked by {number}?" for number in range(QUESTIONS)], opened)
        calls = len(server.requests)
    assert [answer.text for answer in answers] == [str(SECTIONS * (SECTIONS + 1) // 2)] * QUESTIONS
    assert calls > 2000
    assert min(fault.made.values()) > 0
