"""The ways to answer from a long document that a user really has. Each gives a Trace.

memory    the whole document, segment by segment, into one memory
direct    everything in the window at once; too long is an overflow
truncate  what fits the window, the middle left out
retrieve  the passages that BM25 finds for the question
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memagent.agent import MemoryAgent
from memagent.asking import Watch
from memagent.chat import Chat
from memagent.documents import text_document
from memagent.errors import UsageError
from memagent.records import Message, Request, Trace, Turn
from memagent.segments import segments
from memagent.tasks.example import Example
from memagent.tokenizer import Tokenizer, count

_PASSAGE = 200  # tokens
_GAP = "\n…\n"  # where something was left out


@dataclass(frozen=True, slots=True)
class Job:
    """One example to be read by one reader."""

    example: Example
    agent: MemoryAgent
    answer_tokens: int
    """Of the readers that see the document: RULER's tokens_to_generate."""
    retrieve_tokens: int
    """Of the passages that `retrieve` takes, together."""
    run: Path
    """Where the memory reader keeps its journal."""
    watch: Watch

    @property
    def chat(self) -> Chat:
        return self.agent.chat


async def memory(job: Job) -> Trace:
    with text_document(job.example.document, "example") as document:
        answer = await job.agent.ask_async(job.example.question, document, run=job.run, watch=job.watch)
    return answer.trace


async def direct(job: Job) -> Trace:
    return await _ask(job, job.example.prompt())


async def truncate(job: Job) -> Trace:
    """Raises UsageError: the model's window is not known."""
    if job.chat.window is None:
        raise UsageError("The reader truncate must know the model's window: give --window.")
    whole = job.example.prompt()
    document = job.example.document
    room = job.chat.window - job.answer_tokens - job.chat.prompt_tokens([Message("user", job.example.prompt(_GAP))])
    if len(document) < 8 * job.chat.window and _fits(job, whole):
        return await _ask(job, whole)
    while room > 0:
        prompt = job.example.prompt(_without_middle(document, room, job.chat.tokenizer))
        if _fits(job, prompt):
            break
        room -= max(room // 50, 1)  # tokens at the seams, or an estimate
    return await _ask(job, prompt if room > 0 else job.example.prompt(""))


async def retrieve(job: Job) -> Trace:
    found = await asyncio.to_thread(_passages, job.example, job.retrieve_tokens, job.chat.tokenizer)
    return await _ask(job, job.example.prompt(_GAP.join(found)))


READERS: dict[str, Callable[[Job], Coroutine[Any, Any, Trace]]] = {
    "memory": memory,
    "direct": direct,
    "truncate": truncate,
    "retrieve": retrieve,
}


async def _ask(job: Job, prompt: str) -> Trace:
    request = Request((Message("user", prompt),), job.answer_tokens)
    completion = await job.chat.complete(request)
    return Trace(job.example.question, (Turn(0, request, completion),))


def _fits(job: Job, prompt: str) -> bool:
    assert job.chat.window is not None
    return job.chat.prompt_tokens([Message("user", prompt)]) + job.answer_tokens <= job.chat.window


def _without_middle(document: str, tokens: int, tokenizer: Tokenizer) -> str:
    """The beginning and the end of the document, about so many tokens together."""
    half = max(tokens // 2, 1)
    head, tail = document[: 16 * half], document[-16 * half :]
    start, end = tokenizer.encode(head), tokenizer.encode(tail)
    first = start.token_to_chars(min(half, len(start)) - 1)
    last = end.token_to_chars(max(len(end) - half, 0))
    assert first is not None
    assert last is not None
    return head[: first[1]] + _GAP + tail[last[0] :]


def _passages(example: Example, tokens: int, tokenizer: Tokenizer) -> list[str]:
    """The passages that BM25 ranks first for the question, as many as fit, in the document's order."""
    import bm25s

    passages = [segment.text for segment in segments([example.document], _PASSAGE, tokenizer)]
    words = bm25s.tokenize(passages, stopwords="en", show_progress=False)
    ranked = range(len(passages))
    if any(words.ids):  # else there is not a word to find
        index = bm25s.BM25()
        index.index(words, show_progress=False)
        query = bm25s.tokenize(example.question, stopwords="en", show_progress=False)
        ranked = index.retrieve(query, k=len(passages), show_progress=False).documents[0]
    chosen, left = [], tokens
    for place in ranked:
        left -= count(tokenizer, passages[place])
        if left < 0:
            break
        chosen.append(int(place))
    return [passages[place].strip() for place in sorted(chosen)]
