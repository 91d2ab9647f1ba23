"""The practical ways to answer from a long document. Each returns a Trace.

memory    reads the document segment by segment into one memory, as the model was trained; the names in
          `memagent.readers.NAMES` do so with the named reader, which may leave part of the document unread
direct    puts everything into the window at once; a document that is too long is an overflow
truncate  keeps what fits the window and leaves out the middle
retrieve  keeps the passages that BM25 finds for the question
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from memagent.agent import MemoryAgent
from memagent.core.ranking import Ranking
from memagent.core.records import Message, Request, Trace, Turn
from memagent.core.segments import segments
from memagent.core.tokenizer import Tokenizer, count
from memagent.documents import text_document
from memagent.errors import WindowOverflow
from memagent.models.chat import Chat
from memagent.readers import NAMES
from memagent.runs.watch import Watch
from memagent.tasks.example import Example

_PASSAGE = 200  # tokens
_GAP = "\n…\n"  # marks the place where text was left out


@dataclass(frozen=True, slots=True)
class Job:
    """One example for one reader to read."""

    example: Example
    agent: MemoryAgent
    tokenizer: Tokenizer
    """Tokenizer that measures the text for `truncate` and `retrieve`."""
    answer_tokens: int
    """Token limit for answers of readers that see the document: RULER's limit, plus room to repeat the prefix."""
    retrieve_tokens: int
    """Token limit for all passages of `retrieve` together."""
    run: Path
    """Folder of the memory reader's journal."""
    watch: Watch

    @property
    def chat(self) -> Chat:
        return self.agent.chat


async def memory(job: Job, reader: str | None = None) -> Trace:
    agent = job.agent.reading_by(reader) if reader else job.agent
    with text_document(job.example.document, "example") as document:
        answer = await agent.ask_async(job.example.question, document, run=job.run, watch=job.watch)
    return answer.trace


async def direct(job: Job) -> Trace:
    return await _ask(job, job.example.prompt())


async def truncate(job: Job) -> Trace:
    """Answer from a prompt without the middle of the document. Cuts further if the model refuses the prompt.

    The model's window must be known.
    """
    assert job.chat.window is not None
    document, prompt = job.example.document, job.example.prompt()
    room = job.chat.window - job.answer_tokens - job.chat.prompt_tokens([Message("user", job.example.prompt(_GAP))])
    cut = len(document) >= 8 * job.chat.window or not _fits(job, prompt)
    while True:
        if cut:
            while room > 0 and not _fits(job, prompt := _shortened(job, room)):
                room -= max(room // 50, 1)  # leaves room for tokens at the seams
            if room <= 0:
                prompt = job.example.prompt("")
        try:
            return await _ask(job, prompt)
        except WindowOverflow:
            if room <= 0:
                raise
            cut, room = True, room * 4 // 5


async def retrieve(job: Job) -> Trace:
    found = await asyncio.to_thread(_passages, job.example, job.retrieve_tokens, job.tokenizer)
    return await _ask(job, job.example.prompt(_GAP.join(found)))


MEMORY: dict[str, Callable[[Job], Coroutine[Any, Any, Trace]]] = {
    "memory": memory,
    **{name: partial(memory, reader=name) for name in NAMES},
}
"""Readers that keep a memory and a journal, and are asked to box their answer."""

METHODS: dict[str, Callable[[Job], Coroutine[Any, Any, Trace]]] = {
    **MEMORY,
    "direct": direct,
    "truncate": truncate,
    "retrieve": retrieve,
}


async def _ask(job: Job, prompt: str) -> Trace:
    request = Request((Message("user", prompt),), job.answer_tokens, kind="answer")
    completion = await job.chat.complete(request)
    return Trace(job.example.question, (Turn(0, request, completion, ""),))


def _fits(job: Job, prompt: str) -> bool:
    assert job.chat.window is not None
    return job.chat.prompt_tokens([Message("user", prompt)]) + job.answer_tokens <= job.chat.window


def _shortened(job: Job, tokens: int) -> str:
    """Return the prompt with only the beginning and the end of the document, about this many tokens together."""
    half = max(tokens // 2, 1)
    head, tail = job.example.document[: 16 * half], job.example.document[-16 * half :]
    start, end = job.tokenizer.encode(head), job.tokenizer.encode(tail)
    first = start.token_to_chars(min(half, len(start)) - 1)
    last = end.token_to_chars(max(len(end) - half, 0))
    assert first is not None
    assert last is not None
    return job.example.prompt(head[: first[1]] + _GAP + tail[last[0] :])


def _passages(example: Example, tokens: int, tokenizer: Tokenizer) -> list[str]:
    """Return the passages that BM25 ranks first for the question, in document order: those that fit, at least one.

    A passage is two consecutive pieces, and passages overlap by one piece. So text that is cut at the border of one
    passage is whole in another.
    """
    pieces = [segment.text for segment in segments([example.document], _PASSAGE // 2, tokenizer)]
    passages = [first + second for first, second in pairwise(pieces)] or pieces
    best = Ranking(passages).best(example.query or _bare(example.question))
    taken: set[int] = set()
    for place in dict.fromkeys([*best, *range(len(passages))]):
        new = [piece for piece in (place, place + 1) if piece < len(pieces) and piece not in taken]
        tokens -= sum(count(tokenizer, pieces[piece]) for piece in new)
        if tokens < 0 and taken:
            break
        taken.update(new)
    found: list[str] = []
    for piece in sorted(taken):
        if piece - 1 in taken:
            found[-1] += pieces[piece]
        else:
            found.append(pieces[piece])
    return [passage.strip() for passage in found]


def _bare(question: str) -> str:
    """Return RULER's question without its instruction, whose words should not be searched for."""
    return question.split("\n")[-1].removeprefix("Question: ")
