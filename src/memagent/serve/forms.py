"""The fields of OpenAI's requests that memagent uses. A model's server also gets the other fields, unchanged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from memagent.errors import UsageError
from memagent.serve.splitting import Part, Said

Text = Annotated[str, Field(min_length=1)]


_MOST = 1 << 31
_HARMLESS = {
    "user",
    "metadata",
    "store",
    "service_tier",
    "parallel_tool_calls",
    "safety_identifier",
    "prompt_cache_key",
}
"""Fields that do not change a reply."""


class _Form(BaseModel):
    model_config = ConfigDict(extra="allow")


class FileForm(_Form):
    file_id: str = ""
    filename: str = ""
    file_data: str = ""
    """Content as a data URL or as plain base64."""


class PartForm(_Form):
    type: str
    text: str | None = None
    refusal: str | None = None
    file: FileForm | None = None


class MessageForm(_Form):
    role: str
    content: str | list[PartForm] | None = None

    def said(self) -> Said:
        """Return the message for `split`. Raises UsageError if it has a part that cannot be read, such as an image."""
        if self.content is None or isinstance(self.content, str):
            return Said(self.role, (Part(self.content or ""),))
        return Said(self.role, tuple(_part(part) for part in self.content))


class StreamForm(_Form):
    include_usage: bool = False


class TextForm(BaseModel):
    """A document whose text is in the request."""

    text: Text
    name: Annotated[str, Field(max_length=255)] = "text"


class IdForm(BaseModel):
    """A document that was uploaded earlier."""

    id: Text


class UrlForm(BaseModel):
    """A document to fetch from a URL, if the service allows it."""

    url: Annotated[str, Field(min_length=1, max_length=2000)]


DocumentForm = TextForm | IdForm | UrlForm


class ReadingForm(BaseModel):
    """memagent's own part of a request, which says how to read."""

    model_config = ConfigDict(extra="forbid")

    question: Text | None = None
    """The question. If `documents` is left out, all messages are the document."""
    documents: list[DocumentForm] | None = None
    """Documents to read instead of the messages and their files."""
    reader: str | None = None
    read: bool | None = None
    """True reads even a prompt that fits the window. False never reads. None lets the service decide."""
    fresh: bool = False
    """Whether to read again even if there is already an answer."""
    progress: Literal["reasoning", "comments", "none"] | None = None
    """How a stream reports progress: as reasoning_content, as comments, or only with keep-alives."""


class ChatForm(_Form):
    model: str
    messages: Annotated[list[MessageForm], Field(min_length=1)]
    stream: bool | None = False
    stream_options: StreamForm | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = 1
    stop: str | list[str] | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    response_format: dict[str, Any] | None = None
    tools: list[Any] | None = None
    tool_choice: Any = None
    memagent: ReadingForm | None = None

    @property
    def parts(self) -> list[PartForm]:
        """The parts of all messages that have parts."""
        return [part for each in self.messages if isinstance(each.content, list) for part in each.content]

    @property
    def texts(self) -> list[str]:
        """All texts in the messages."""
        return [
            *(part.text or "" for part in self.parts),
            *(each.content for each in self.messages if isinstance(each.content, str)),
        ]

    @property
    def most(self) -> int | None:
        """Maximum number of tokens in the reply; None if the client sets no maximum."""
        return self.max_completion_tokens or self.max_tokens

    @property
    def stops(self) -> list[str]:
        """Texts that end the reply."""
        return [each for each in ([self.stop] if isinstance(self.stop, str) else self.stop or []) if each]

    @property
    def how(self) -> ReadingForm:
        return self.memagent or ReadingForm()

    def check(self, who: str) -> None:
        """Raise UsageError if the request asks for something that `who`, such as "a reading", does not support."""
        kind = (self.response_format or {}).get("type", "text")
        for asked, what in (
            (self.n not in (None, 1), "n > 1"),
            (kind != "text", f"response_format {kind}"),
            (self.tool_choice not in (None, "auto", "none"), "a tool_choice that requires a tool"),
            (self.most is not None and not 1 <= self.most <= _MOST, f"max_tokens {self.most}"),
        ):
            if asked:
                raise UsageError(f"{who.capitalize()} does not support {what}: leave it out.")

    def ignored_by(self, who: str, kept: Sequence[str] = ()) -> list[str]:
        """Return warnings about fields of the request that `who` ignores.

        Args:
            kept: names of fields that it does not ignore.
        """
        found = [name for name in ("temperature", "top_p", "seed") if getattr(self, name) and name not in kept]
        found += ["tools"] if self.tools and self.tool_choice != "none" else []
        found += [name for name, value in (self.model_extra or {}).items() if value and name not in _HARMLESS]
        return [f"{who.capitalize()} ignored {name[:100]}." for name in found]


def _part(part: PartForm) -> Part:
    if part.type in ("text", "refusal"):
        return Part(text=part.text or part.refusal or "")
    if part.type == "file" and part.file and (part.file.file_id or part.file.file_data):
        return Part(file_id=part.file.file_id, file_name=part.file.filename, file_data=part.file.file_data)
    raise UsageError(f"memagent cannot read a message part of type {part.type[:40]}: send text and files.")
