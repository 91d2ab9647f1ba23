"""If a server silently cuts long prompts, every fact of the document is still read, or the run says that it cannot."""

from __future__ import annotations

import re
from math import ceil
from typing import Literal

import pytest
from fault_server import Body, Fault, FaultServer, Reply, ok, status
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from memagent import Budget, MemoryAgent, text_document
from memagent.errors import ModelError
from memagent.models.http import HttpChat

CODES = [f"code-{number:02}" for number in range(24)]
TEXT = "\n\n".join(
    f"{'The river runs slowly past the old mills. ' * (3 + number % 5)}{CODES[number]}." for number in range(24)
)
Side = Literal["front", "back", "middle"]
SIDES: tuple[Side, ...] = ("front", "back", "middle")


def remembering(limit: int, side: Side, per_token: float = 4.0) -> Fault:
    """Cut each prompt to `limit` tokens and reply with the codes that are left."""

    def reply(body: Body) -> Reply:
        text = body["messages"][0]["content"]
        keep = int(limit * per_token)
        if len(text) > keep:
            half = keep // 2
            text = {"front": text[-keep:], "back": text[:keep], "middle": text[:half] + text[half - keep :]}[side]
        found = " ".join(sorted(set(re.findall(r"code-\d\d", text))))
        said = f"Codes: {found}" if "<section>" in body["messages"][0]["content"] else f"\\boxed{{{found}}}"
        return ok(said, usage={"prompt_tokens": ceil(len(text) / per_token), "completion_tokens": 40})(body)

    return reply


def read(fault: Fault) -> tuple[str | None, str, int]:
    """Return the answer, the message of the error that ended the reading, and the number of requests."""
    with FaultServer([fault]) as server:
        chat = HttpChat("m", base_url=server.url, retries=0, timeout=5)
        budget = Budget(question=40, segment=500, memory=100, answer=100)
        with MemoryAgent(chat, budget=budget, citations=False) as agent, text_document(TEXT, "river") as document:
            try:
                return agent.ask("List every code.", document).text, "", len(server.requests)
            except ModelError as error:
                return None, str(error), len(server.requests)


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(30, 1500), st.sampled_from(SIDES), st.sampled_from([3.0, 4.0, 5.0]))
@example(700, "middle", 4.0)
@example(590, "front", 4.0)
def test_every_fact_is_read_or_the_run_says_that_it_cannot_be(limit: int, side: Side, per_token: float) -> None:
    answer, sentence, _ = read(remembering(limit, side, per_token))
    if answer is None:
        assert re.search(r"m at \S+ reads only about [\d,]+ tokens of a prompt and drops the rest", sentence)
        assert "num_ctx" in sentence
    else:
        assert set(answer.split()) == set(CODES)


@pytest.mark.parametrize("side", SIDES)
def test_where_there_is_room_the_sections_are_halved(side: Side) -> None:
    answer, _, _ = read(remembering(450, side))
    assert answer is not None
    assert set(answer.split()) == set(CODES)


def test_a_server_that_cuts_nothing_costs_two_probes() -> None:
    """One probe is for the first prompt, one for the longer prompts that follow once the size of a token is known."""
    limits: list[int] = []

    def reply(body: Body) -> Reply:
        limits.append(body["max_tokens"])
        return remembering(100_000, "front")(body)

    answer, _, requests = read(reply)
    assert answer is not None
    assert set(answer.split()) == set(CODES)
    assert limits.count(16) == 2
    assert requests == len(limits)


@pytest.mark.parametrize("constant", [1, 20, 4096])
def test_counts_that_have_nothing_to_do_with_the_prompts_are_ignored(constant: int) -> None:
    honest = remembering(100_000, "front")

    def reply(body: Body) -> Reply:
        said = honest(body)
        text = re.sub(rb'"prompt_tokens": \d+', f'"prompt_tokens": {constant}'.encode(), said.body)
        return Reply(text, content_type=said.content_type)

    with FaultServer([reply]) as server:
        chat = HttpChat("m", base_url=server.url, retries=0, timeout=5)
        with MemoryAgent(chat, citations=False) as agent, text_document(TEXT, "river") as document:
            answer = agent.ask("List every code.", document)
        assert set(answer.text.split()) == set(CODES)
        assert len(chat.tokenizer.encode("x" * 300)) == 100  # nothing was learnt
        assert chat.warnings == [
            "m reports token counts that do not follow the prompts, so nobody would notice if it cut prompts short."
        ]


def test_a_probe_that_fails_loses_nothing_that_was_paid_for() -> None:
    honest = remembering(100_000, "front")

    def reply(body: Body) -> Reply:
        return status(500)(body) if body["max_tokens"] == 16 else honest(body)

    answer, sentence, _ = read(reply)
    assert sentence == ""
    assert answer is not None
    assert set(answer.split()) == set(CODES)
