"""What a model server replies, as far as it is read: a listing of its models, or a completion, whole or in parts.

Servers send more, less and other than OpenAI does. The `openai` client validates nothing; these classes do.
"""

from __future__ import annotations

from typing import Any

from pydantic import AliasChoices, AliasPath, BaseModel, ConfigDict, Field

_OPEN, _CLOSE = "<think>", "</think>"


class Served(BaseModel):
    id: str
    window: int | None = Field(
        None,
        validation_alias=AliasChoices(
            "max_model_len",  # vLLM, SGLang
            "context_length",  # OpenRouter
            "context_window",  # Groq
            AliasPath("meta", "n_ctx"),  # llama.cpp
            AliasPath("meta", "n_ctx_train"),
        ),
    )


class Listing(BaseModel):
    data: list[Served]


class _Part(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class _Words(_Part):
    content: str | None = None
    reasoning_content: Any = None
    reasoning: Any = None


class _Choice(_Part):
    message: _Words | None = None
    delta: _Words | None = None
    finish_reason: str | None = None


class Reply(_Part):
    """A completion, or a part of one that is streamed."""

    choices: list[_Choice] | None = None
    usage: Any = None
    error: Any = None

    @property
    def finish(self) -> str | None:
        return next((choice.finish_reason for choice in self.choices or () if choice.finish_reason), None)


class Draft:
    """A completion as far as its parts have come."""

    def __init__(self) -> None:
        self.content: str | None = None
        self.finish: str | None = None
        self.usage: Any = None
        self.reasoned = False

    def add(self, part: Reply) -> None:
        self.usage = part.usage or self.usage
        self.finish = part.finish or self.finish
        for choice in part.choices or ():
            if words := choice.message or choice.delta:
                self.reasoned = self.reasoned or bool(words.reasoning_content or words.reasoning)
                if words.content is not None or choice.delta:  # a stream may be over before its first word
                    self.content = (self.content or "") + (words.content or "")
        self.reasoned = self.reasoned or self.text != (self.content or "")

    @property
    def text(self) -> str:
        """What follows a leading <think> block, whose opening tag may be in the prompt."""
        content = self.content or ""
        before, closed, after = content.partition(_CLOSE)
        reasoning = content.lstrip().startswith(_OPEN) or (closed and _OPEN not in before)
        return after.lstrip() if reasoning else content

    @property
    def shown(self) -> str:
        """The text, but nothing as long as it may turn out to be the opening tag."""
        return "" if _OPEN.startswith((self.content or "").lstrip()) else self.text
