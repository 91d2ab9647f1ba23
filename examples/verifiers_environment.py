"""An environment for PrimeIntellect's `verifiers` 0.4: evaluate a policy, or train it with a trainer that uses them.

One rollout is one reading of a document. Each of its conversations becomes a branch of the rollout's message graph, and
the rollout has one reward, for the final answer. All requests of a wave are sent at the same time.

    pip install memagent
    pip install verifiers    # replaces openai 3 by openai 2, with a warning that does not matter here
    PYTHONPATH=examples vf-eval verifiers_environment --no-push --env.taskset.questions mine.jsonl
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import openai
import verifiers.v1 as vf

from memagent.core.budget import Budget
from memagent.core.prompts import prompts_for
from memagent.core.records import Completion, Request, Segment, Usage
from memagent.core.segments import segments
from memagent.core.tokenizer import ByteTokenizer, load_tokenizer
from memagent.errors import UsageError, WindowOverflow
from memagent.models.http_failures import is_overflow
from memagent.models.reader_defaults import ReaderDefaults
from memagent.rl.problems import DocumentQuestion, MemoryProblems, Problem, document_problem
from memagent.rl.rollouts import Attempt
from memagent.tasks.catalog import Data
from memagent.tasks.example import Length, parse_length

__all__ = ["ReadingEnv", "ReadingHarness", "ReadingTaskset", "load_environment"]


class ReadingData(vf.TaskData):
    """A question and the segments of its document. `source.document` is empty, because the segments have the text."""

    source: DocumentQuestion
    pieces: tuple[Segment, ...]
    how: ReaderDefaults

    def problem(self) -> Problem:
        return document_problem(self.source, self.how.reader, self.how.budget, self.how.prompts, self.pieces)


class ReadingTask(vf.Task[ReadingData]):
    @vf.reward
    async def reward(self, trace: vf.Trace) -> float:
        """Return the reward that the harness noted; 0 if the rollout was stopped before the reading ended."""
        return float(trace.info.get("reading", {}).get("reward", 0.0))


class ReadingsConfig(vf.TasksetConfig):
    questions: str = ""
    """Name of a task of memagent, a JSONL file with questions of your own, or FILE.py:NAME."""
    length: str = "own"
    """Length of the documents, such as 8k; "own" for your own documents."""
    examples: int = 1000
    seed: int = 0
    data: Data = Data()
    """Paths of the data that the task is made of."""
    tokenizer: Path | None = None
    """The `tokenizer.json` that segments are measured with. Without it, every byte counts as a token."""
    budget: Budget = Budget()
    reader: str = "overwrite"
    """Name in `memagent.readers.NAMES`."""


class ReadingTaskset(vf.Taskset[ReadingTask, ReadingsConfig]):
    def load(self) -> Iterator[ReadingTask]:
        config = self.config
        (task,) = config.data.tasks([config.questions])
        tokenizer = load_tokenizer(config.tokenizer) if config.tokenizer else ByteTokenizer()
        length = Length(0, "own") if config.length == "own" else parse_length(config.length)
        how = ReaderDefaults(prompts_for(), config.budget, config.reader)
        problems = MemoryProblems(task, length, config.seed, tokenizer, [how.prompts], how.budget, reader=how.reader)
        for number in range(config.examples if task.size is None else min(config.examples, task.size)):
            source = problems.problem(number).source
            assert source is not None
            pieces = tuple(segments([source.document], how.budget.segment, tokenizer))
            source = replace(source, document="")
            data = ReadingData(name=source.name, prompt=source.question, source=source, pieces=pieces, how=how)
            yield ReadingTask(data, config.task)


class ReadingHarness(vf.Harness[vf.HarnessConfig]):
    """Reads the document in this process. `verifiers` completes each request, and records it with its tokens."""

    EXECUTES_CODE = False
    NEEDS_CONTAINER = False

    async def launch(
        self, ctx: vf.ModelContext, trace: vf.Trace, runtime: Any, endpoint: str, secret: str, urls: Any, data: Any
    ) -> vf.ProgramResult:
        attempt = Attempt(data.problem())
        async with openai.AsyncOpenAI(base_url=endpoint, api_key=secret, timeout=None) as client:
            while attempt.wanted:
                check_limits(ctx, attempt)
                async with asyncio.TaskGroup() as wave:
                    for place, request in attempt.wanted.items():
                        wave.create_task(complete(client, ctx.model, attempt, place, request))
        rollout = attempt.finished()
        trace.info["reading"] = {"reward": rollout.reward, "overflowed": rollout.overflowed}
        trace.root_reply = rollout.answer
        return vf.ProgramResult(exit_code=0, stdout=rollout.answer, stderr="")


async def complete(client: openai.AsyncOpenAI, model: str, attempt: Attempt, place: int, request: Request) -> None:
    messages: Any = [asdict(message) for message in request.messages]
    # A wave may have the same request twice. Without a key, verifiers could give a retry the reply to the other one.
    key = {"Idempotency-Key": uuid4().hex}
    try:
        reply = await client.chat.completions.create(
            model=model, messages=messages, max_tokens=request.max_tokens, extra_headers=key
        )
    except openai.APIStatusError as error:
        if not is_overflow(error.status_code, error.response.text):
            raise
        attempt.overflow(WindowOverflow(str(error)), place)
        return
    choice, usage = reply.choices[0], reply.usage
    tokens = Usage(usage.prompt_tokens, usage.completion_tokens) if usage else Usage()
    text, finish = choice.message.content or "", choice.finish_reason
    attempt.take(Completion(text, "length" if finish == "length" else "stop", tokens), place)


def check_limits(ctx: vf.ModelContext, attempt: Attempt) -> None:
    """Refuse a run whose limit exceeds the request's own: when training, `verifiers` sends only the run's limit."""
    most, least = ctx.sampling.max_tokens, min(request.max_tokens for request in attempt.wanted.values())
    if (most is None and isinstance(ctx.client, vf.TrainClientConfig)) or (most is not None and most > least):
        raise UsageError(f"The sampling setting max_tokens is {most}: give at most {least}, the reader's own limit.")


class ReadingEnvConfig(vf.EnvConfig):
    agent: vf.AgentConfig = vf.AgentConfig(runtime=vf.SubprocessConfig())


class ReadingEnv(vf.Env[ReadingEnvConfig]):
    async def run(self, task: vf.Task, agents: vf.Agents) -> None:
        await agents.agent.run(task)


def load_environment(**settings: Any) -> vf.Env:
    """Return the environment. The settings are the fields of `ReadingsConfig`."""
    return vf.load_environment(vf.resolve_env_config({"taskset": {"id": __name__, **settings}}))
