"""The ways to answer from a long document that a user really has. Each gives a Trace.

memory    the whole document, segment by segment, into one memory, as the model was trained; or, by the name of a
          reader (overwrite, extract, collect), in that way
direct    everything in the window at once; too long is an overflow
truncate  what fits the window, the middle left out
retrieve  the passages that BM25 finds for the question
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
from memagent.core.records import Message, Request, Trace, Turn
from memagent.core.segments import segments
from memagent.core.tokenizer import Tokenizer, count
from memagent.documents import text_document
from memagent.errors import WindowOverflow
from memagent.models.chat import Chat
from memagent.readers import READERS
from memagent.runs.watch import Watch
from memagent.tasks.example import Example

_PASSAGE = 200  # tokens
_GAP = "\n…\n"  # where something was left out


@dataclass(frozen=True, slots=True)
class Job:
    """One example to be read by one reader."""

    example: Example
    agent: MemoryAgent
    tokenizer: Tokenizer
    """Counts what `truncate` and `retrieve` take."""
    answer_tokens: int
    """Of the readers that see the document: RULER's tokens_to_generate, and room to say the answer's prefix again."""
    retrieve_tokens: int
    """Of the passages that `retrieve` takes, together."""
    run: Path
    """Where the memory reader keeps its journal."""
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
    """The model's window must be known. A prompt that the model refuses all the same is cut further."""
    assert job.chat.window is not None
    document, prompt = job.example.document, job.example.prompt()
    room = job.chat.window - job.answer_tokens - job.chat.prompt_tokens([Message("user", job.example.prompt(_GAP))])
    cut = len(document) >= 8 * job.chat.window or not _fits(job, prompt)
    while True:
        if cut:
            while room > 0 and not _fits(job, prompt := _shortened(job, room)):
                room -= max(room // 50, 1)  # tokens at the seams
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
    **{name: partial(memory, reader=name) for name in READERS},
}
"""Those that keep a memory and a journal, and are asked for a box."""

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
    """The prompt over the beginning and the end of the document, about so many tokens together."""
    half = max(tokens // 2, 1)
    head, tail = job.example.document[: 16 * half], job.example.document[-16 * half :]
    start, end = job.tokenizer.encode(head), job.tokenizer.encode(tail)
    first = start.token_to_chars(min(half, len(start)) - 1)
    last = end.token_to_chars(max(len(end) - half, 0))
    assert first is not None
    assert last is not None
    return job.example.prompt(head[: first[1]] + _GAP + tail[last[0] :])


def _passages(example: Example, tokens: int, tokenizer: Tokenizer) -> list[str]:
    """The passages that BM25 ranks first for the question, as many as fit but at least one, in the document's order.

    A passage is two pieces that follow each other, each in two passages: what is cut by the border of one stands whole
    in the other.
    """
    import bm25s

    pieces = [segment.text for segment in segments([example.document], _PASSAGE // 2, tokenizer)]
    passages = [first + second for first, second in pairwise(pieces)] or pieces
    words = bm25s.tokenize(passages, stopwords="en", show_progress=False)
    ranked = range(len(passages))
    if any(words.ids):  # else there is not a word to find
        index = bm25s.BM25()
        index.index(words, show_progress=False)
        query = bm25s.tokenize(example.query or _bare(example.question), stopwords="en", show_progress=False)
        ranked = index.retrieve(query, k=len(passages), show_progress=False).documents[0]
    taken: set[int] = set()
    for place in map(int, ranked):
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
    """RULER's question without the instruction before it, whose words are not to be looked for."""
    return question.split("\n")[-1].removeprefix("Question: ")
