"""Replies in the format of OpenAI's chat completions, whole and streamed."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from memagent.core.records import Usage
from memagent.evidence.answer import Cited

KEEP_ALIVE = b": reading\n\n"
"""Comment in a stream, which clients ignore."""
DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class ChatReply:
    """Builds one reply, whole or in chunks."""

    model: str
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(
        self,
        text: str,
        finish: str,
        usage: Usage,
        annotations: Sequence[dict[str, Any]] = (),
        about: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Return a chat completion.

        Args:
            about: content of the reply's `memagent` field.
        """
        message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
        message |= {"annotations": list(annotations)} if annotations else {}
        choice = {"index": 0, "message": message, "finish_reason": finish, "logprobs": None}
        reply = self._head("chat.completion") | {"choices": [choice], "usage": usage_of(usage)}
        return reply | ({"memagent": about} if about else {})

    def chunk(self, delta: dict[str, Any], finish: str | None = None, about: dict[str, Any] | None = None) -> bytes:
        """Return a chunk of a stream."""
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        part = self._head("chat.completion.chunk") | {"choices": [choice]}
        return event(part | ({"memagent": about} if about else {}))

    def last(self, usage: Usage) -> bytes:
        """Return the chunk of a stream that has the usage."""
        return event(self._head("chat.completion.chunk") | {"choices": [], "usage": usage_of(usage)})

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}


def stopped(text: str, finish: str, stops: Sequence[str]) -> tuple[str, str]:
    """Return the text up to the first stop text, and the finish reason."""
    ends = [place for stop in stops if (place := text.find(stop)) >= 0]
    return (text[: min(ends)], "stop") if ends else (text, finish)


def event(value: dict[str, Any], name: str = "") -> bytes:
    """Return a server-sent event. `json.dumps` writes no line breaks, so one line of data is enough."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(value)}\n\n".encode()


def usage_of(usage: Usage) -> dict[str, int]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }


def annotations_of(citations: Sequence[Cited]) -> list[dict[str, Any]]:
    """Return citations as annotations of a message. `start` and `end` count characters in the document."""
    return [{"type": "file_citation", "file_citation": citation_of(each)} for each in citations]


def citation_of(cited: Cited) -> dict[str, Any]:
    """Return a citation as JSON."""
    return {
        "document": cited.document,
        "page": cited.page,
        "start": cited.start,
        "end": cited.end,
        "quote": cited.quote,
        "segment": cited.segment,
        "turn": cited.turn,
    }
