"""Parse the replies of a model server: its list of models, and completions, whole or streamed in parts.

Servers add, leave out and change fields of OpenAI's format. The `openai` client does not validate them, but these
classes do.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, ValidatorFunctionWrapHandler, field_validator

from memagent.models.reasoning import may_be_reasoning, without_reasoning

_WINDOWS = (
    "loaded_context_length",  # LM Studio, for the model as it is loaded
    "max_model_len",  # vLLM, SGLang
    "context_length",  # OpenRouter
    "context_window",  # Groq
    "max_context_length",
)
_LEAST_WINDOW, _LARGEST_WINDOW = 256, 10**9  # plausible sizes of a context window, in tokens

STOPS = {
    "stop", "eos", "eos_token", "end_turn", "stop_sequence", "stop_token", "stop_str", "complete", "completed",
    "finished", "end", "done", "normal", "finish_reason_stop",
}  # fmt: skip
"""Finish reasons that mean the model ended its reply, in lower case."""

LIMITS = {"length", "max_tokens", "max_length", "model_length", "max_output_tokens", "max_new_tokens", "token_limit",
          "max_tokens_reached", "length_limit", "finish_reason_max_tokens", "limit"}  # fmt: skip
"""Finish reasons that mean the reply was cut by a token limit, in lower case."""


class Served(BaseModel):
    """A model that the server offers."""

    id: str
    window: int | None = None
    """Size of its context window in tokens; None if the server does not say, or says something absurd."""
    any_name: bool = False
    """Whether the server serves this model under any name, as llama.cpp does."""


class Listing(BaseModel):
    data: list[Served]

    @classmethod
    def read(cls, reply: object) -> Listing:
        """Parse a list of models in any of the forms that servers use.

        Raises:
            ValueError: the reply is not a list of models.
        """
        entries = reply.get("data", reply.get("models")) if isinstance(reply, dict) else reply
        if not isinstance(entries, list):
            raise ValueError("no list of models")
        return cls(data=[_served(each) for each in entries if isinstance(each, dict) and _name(each)])


def _name(entry: dict[str, Any]) -> str:
    name = entry.get("id") or entry.get("name")
    return name if isinstance(name, str) else ""


def _served(entry: dict[str, Any]) -> Served:
    meta = entry["meta"] if isinstance(entry.get("meta"), dict) else {}  # llama.cpp
    sizes = [*(entry.get(name) for name in _WINDOWS), meta.get("n_ctx"), meta.get("n_ctx_train")]
    window = next((size for size in map(_size, sizes) if size), None)
    return Served(id=_name(entry), window=window, any_name=bool(meta))


def _size(value: object) -> int | None:
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value)
    sane = isinstance(value, int | float) and _LEAST_WINDOW <= value <= _LARGEST_WINDOW
    return int(value) if sane and isinstance(value, int | float) else None


class _Part(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class _Words(_Part):
    content: str | None = None
    reasoning_content: Any = None
    reasoning: Any = None
    refusal: str | None = None

    @field_validator("content", mode="before")
    @classmethod
    def _joined(cls, content: object) -> object:
        """Join the text parts of a content that is a list of parts."""
        return "".join(_texts(content)) if isinstance(content, list) else content

    @property
    def has_reasoning(self) -> bool:
        return bool(self.reasoning_content or self.reasoning)


def _texts(parts: Iterable[object]) -> Iterable[str]:
    for part in parts:
        if not isinstance(part, dict) or not isinstance(part.get("type", "text"), str):
            raise ValueError("a part of the content is not an object with a type")
        if part.get("type", "text") in ("text", "output_text"):
            if not isinstance(part.get("text"), str):
                raise ValueError("a text part of the content has no text")
            yield part["text"]


class _Choice(_Part):
    message: _Words | None = None
    delta: _Words | None = None
    text: str | None = None
    """Text of a legacy completion."""
    finish_reason: str | None = None


class _Counted(_Part):
    prompt_tokens: Any = None
    completion_tokens: Any = None


class Reply(_Part):
    """A completion, or one part of a streamed completion."""

    choices: list[_Choice] | None = None
    usage: _Counted | None = None
    error: Any = None
    detail: Any = None
    """Error message of a FastAPI server."""
    message: Any = None

    @field_validator("usage", mode="wrap")
    @classmethod
    def _counted(cls, usage: object, parse: ValidatorFunctionWrapHandler) -> object:
        """Ignore a usage that cannot be parsed."""
        try:
            return parse(usage)
        except ValidationError:
            return None

    @property
    def finish(self) -> str | None:
        return next((choice.finish_reason for choice in self.choices or () if choice.finish_reason), None)


class Draft:
    """The parts of a completion that have arrived so far."""

    def __init__(self) -> None:
        self.content: str | None = None
        self.finish: str | None = None
        self.refusal = ""
        self.usage: Any = None
        self._separated = False  # the server sent reasoning in a field of its own

    def add(self, part: Reply) -> None:
        self.usage = part.usage or self.usage
        self.finish = part.finish or self.finish
        for choice in part.choices or ():
            if words := choice.message or choice.delta:
                self._separated = self._separated or words.has_reasoning
                self.refusal += words.refusal or ""
                if words.content is not None or choice.delta:  # a stream may end before its first word
                    self.content = (self.content or "") + (words.content or "")
            elif choice.text is not None:
                self.content = (self.content or "") + choice.text

    @property
    def reasoned(self) -> bool:
        return self._separated or without_reasoning(self.content or "")[1]

    @property
    def text(self) -> str:
        """The content without the reasoning that some servers leave in it."""
        content = self.content or ""
        return content if self._separated else without_reasoning(content)[0]

    @property
    def shown(self) -> str:
        """The text so far; empty while it may turn out to be reasoning."""
        return "" if not self._separated and may_be_reasoning(self.content or "") else self.text

    @property
    def cut(self) -> bool:
        """Whether a token limit cut the reply."""
        return (self.finish or "").lower() in LIMITS

    @property
    def stopped(self) -> bool:
        """Whether the model ended the reply itself. This is assumed if the server gives no finish reason."""
        return not self.finish or self.finish.lower() in STOPS
