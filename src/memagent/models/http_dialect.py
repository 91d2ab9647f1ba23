"""Build the body of a request, and learn from refusals which fields a server does not accept."""

from __future__ import annotations

import re
from typing import Any

from memagent.core.records import Request
from memagent.models.chat import Sampling

_OPTIONAL = ("temperature", "top_p", "seed")
_REFUSES = re.compile(
    r"support|only the default|permitted|allowed|extra|unexpected|unknown|unrecogni[sz]ed|deprecated", re.IGNORECASE
)


class Dialect:
    """The request fields that one server accepts.

    `changed` has one sentence for each sampling setting that the server refused.
    """

    def __init__(self, model: str, sampling: Sampling) -> None:
        self.changed: list[str] = []
        self._model, self._sampling = model, sampling
        self._limit = "max_tokens"  # newer OpenAI models use another name for it
        self._left_out: set[str] = set()

    def body(self, request: Request, stream: bool) -> dict[str, Any]:
        body = {
            "model": self._model,
            # A lone surrogate, which a document may contain, cannot be sent.
            "messages": [
                {"role": m.role, "content": m.content.encode("utf-8", "replace").decode()} for m in request.messages
            ],
            "temperature": self._sampling.temperature,
            "top_p": self._sampling.top_p,
            "seed": self._sampling.seed,
            self._limit: request.max_tokens,
            "stream": stream or None,
            "stream_options": {"include_usage": True} if stream else None,
        }
        return {name: value for name, value in body.items() if value is not None and name not in self._left_out}

    def learn(self, body: dict[str, Any], refusal: str) -> bool:
        """Rename or drop the field of `body` that the server refused. Returns False if the refusal names none."""
        if "max_tokens" in body and "max_completion_tokens" in refusal:
            self._limit = "max_completion_tokens"
            return True
        if "stream_options" in body and "stream_options" in refusal:
            self._left_out.add("stream_options")
            return True
        for name in _OPTIONAL:
            if name in body and re.search(rf"\b{name}\b", refusal) and _REFUSES.search(refusal):
                self._left_out.add(name)
                self.changed.append(f"{self._model} does not accept a {name} of {body[name]:g}; it used its own.")
                return True
        return False
