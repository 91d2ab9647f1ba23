"""Measures the 0.5B model with a collecting memory: speed against the bare engine, and eight questions against one."""

from __future__ import annotations

import sys
import time
from statistics import median

import numpy as np
import openvino
from common import clock, figure, text

from memagent import Budget, MemoryAgent, Request, text_document
from memagent.core.prompts import NONE
from memagent.models.chat import Sampling
from memagent.models.engine_worker import Pipeline
from memagent.models.local import LocalChat
from memagent.models.weights import find_weights

QUESTIONS = [
    "Who is Anna Pavlovna?", "Who is Prince Vasili?", "What does Pierre want?", "Where are they?",
    "Who gave the ball?", "What is the name of Pierre's father?", "Which war is near?", "Who arrives late?",
]  # fmt: skip
SEGMENT, CHARACTERS = 800, 24_000


def read(questions: list[str], model: str, content: str) -> tuple[float, list[Request], list[int]]:
    """Return seconds, the requests for quotes, and the tokens of each reply NONE. Uses a new engine."""
    budget = Budget(segment=SEGMENT, memory=256, answer=16)
    with MemoryAgent(LocalChat(model), budget=budget, reader="collect") as agent:
        with text_document("Warm up.") as document:
            agent.ask("What is this?", document)
        with text_document(content) as document, clock() as seconds:
            answers = agent.ask_many(questions, document)
    turns = [turn for answer in answers for turn in answer.trace.memories]
    none = [turn.completion.usage.completion_tokens for turn in turns if turn.completion.text.strip() == NONE]
    return seconds[0], [turn.request for turn in turns], none


def alone(requests: list[Request], model: str) -> tuple[float, int]:
    """Return seconds and prompt tokens of the same prompts on the bare engine, in turn, with one token each."""
    weights = find_weights(model)
    assert weights.tokenizer
    engine = Pipeline(weights.engine_file(), prompt_lookup=False)
    contents = [[(each.role, weights.tokenizer.ids(each.content)) for each in request.messages] for request in requests]
    prompts = [engine.prompt_ids(list(messages)) for messages in contents]
    config = engine.config(1, Sampling())
    for number, prompt in enumerate([prompts[0][:64], *prompts]):
        if number == 1:  # the first prompt is the warm-up
            began = time.perf_counter()
        handle = engine.batching.add_request(number, openvino.Tensor(np.array([prompt], dtype=np.int64)), config)
        while not handle.can_read():
            engine.batching.step()
        handle.read()
    return time.perf_counter() - began, sum(map(len, prompts))


def main(model: str = "qwen2.5-coder-0.5b") -> None:
    content = text(CHARACTERS)
    one, requests, none = read(QUESTIONS[:1], model, content)
    bare, tokens = alone(requests, model)
    ours = tokens / one
    figure(
        f"reader: prefill of {len(requests)} prompts, ours / the engine",
        f"{ours:.0f} / {tokens / bare:.0f} tokens/s = {ours * bare / tokens:.0%}",
        "goal: at least 85 %",
    )
    spent = f"{median(none):.0f} and {max(none)}" if none else "no such reply"
    figure("reader: tokens of a reply NONE, median and most", spent, "goal: at most 5")
    eight, _, _ = read(QUESTIONS, model, content)
    figure("reader: eight questions / one", f"{eight:.1f} s / {one:.1f} s = {eight / one:.2f}", "goal: at most 2")


if __name__ == "__main__":
    main(*sys.argv[1:])
