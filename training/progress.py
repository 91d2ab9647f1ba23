"""A small evaluation of a policy in training: eight questions on each of four documents of 8K tokens, four on a novel.

    python training/progress.py DATA MODEL [OUT.jsonl]

DATA is what `prepare.py` wrote; only its test side is read. MODEL is what `--model` takes, such as checkpoint:DIR.
Eight questions show whether a training works at all; they do not rank two policies.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent.parent / "benchmarks"))

import books

from memagent import MemoryAgent, text_document
from memagent.bench.tracking import track
from memagent.core.scoring import METRICS
from memagent.tasks.catalog import Data
from memagent.tasks.example import parse_length

TASKS = ("practice_articles", "practice_hops", "fairytale", "practice")
LENGTH, QUESTIONS, SEED = parse_length("8k"), 8, 1
NOVEL = "the-time-machine"  # the shortest of benchmarks/books.py, 45,000 tokens


def evaluate(agent: MemoryAgent, data: Path) -> list[dict[str, Any]]:
    """The mean score of each task and of the novel. Prints every answer with the fate of its facts."""
    test = data / "test"
    source = Data(
        str(test / "books"), str(test / "squad.jsonl.gz"), str(test / "hotpotqa.jsonl.gz"),
        str(test / "paragraphs.jsonl.gz"), None, str(test / "unanswerable.jsonl.gz"), str(test / "stories.jsonl.gz"),
    )  # fmt: skip
    found = []
    for task in source.tasks(TASKS):
        began = time.perf_counter()
        examples = [task.example(LENGTH, number, SEED, agent.chat.tokenizer) for number in range(QUESTIONS)]
        with text_document(examples[0].document, "example") as document:
            answers = agent.ask_many([example.question for example in examples], document)
        scores = []
        for example, answer in zip(examples, answers, strict=True):
            said = answer.trace.answer or ""
            scores.append(METRICS[task.metrics[0]](said, example.answers))
            states = [fact.state for fact in track(example, answer.trace, said, scores[-1] == 1)]
            print(f"  {task.name}: {example.query or example.question[-80:]!r}\n    {example.answers[0]!r}")
            print(f"    {said!r} {scores[-1]:.2f} {states}\n    {answer.memory!r}", flush=True)
        found.append({"task": task.name, "score": sum(scores) / len(scores), "seconds": time.perf_counter() - began})
    began = time.perf_counter()
    right = books.read(agent, test / "books", NOVEL)
    found.append({"task": NOVEL, "score": sum(right) / len(right), "seconds": time.perf_counter() - began})
    return found


def main(data: str, model: str, out: str | None = None) -> None:
    with MemoryAgent(model) as agent:
        found = {"model": agent.chat.model, "time": time.time(), "scores": evaluate(agent, Path(data))}
    print(json.dumps(found))
    if out:
        with Path(out).open("a", encoding="utf-8") as file:
            file.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    main(*sys.argv[1:])
