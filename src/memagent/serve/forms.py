"""OpenAI's requests, as far as memagent looks at them. A model's server gets the other fields as they came."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from memagent.errors import UsageError
from memagent.serve.splitting import Part, Said

Text = Annotated[str, Field(min_length=1)]
Positive = Annotated[int, Field(ge=1, le=1 << 31)]


class _Form(BaseModel):
    model_config = ConfigDict(extra="allow")


class FileForm(_Form):
    file_id: str = ""
    filename: str = ""
    file_data: str = ""
    """The content as a data URL, or in base64 alone."""


class PartForm(_Form):
    type: str
    text: str | None = None
    file: FileForm | None = None


class MessageForm(_Form):
    role: str
    content: str | list[PartForm] | None = None

    def said(self) -> Said:
        """Return the message. Raises UsageError if it has a part that cannot be read, such as an image."""
        if self.content is None or isinstance(self.content, str):
            return Said(self.role, (Part(self.content or ""),))
        return Said(self.role, tuple(_part(part) for part in self.content))


class StreamForm(_Form):
    include_usage: bool = False


class TextForm(BaseModel):
    """A document in a request."""

    text: Text
    name: Annotated[str, Field(max_length=255)] = "text"


class IdForm(BaseModel):
    """A document that was uploaded before."""

    id: Text


class UrlForm(BaseModel):
    """A document to fetch, if the service allows it."""

    url: Annotated[str, Field(min_length=1, max_length=2000)]


DocumentForm = TextForm | IdForm | UrlForm


class ReadingForm(BaseModel):
    """How to read: memagent's own part of a request."""

    model_config = ConfigDict(extra="forbid")

    question: Text | None = None
    """The question. Without `documents`, all messages are then the document."""
    documents: list[DocumentForm] | None = None
    """What to read, instead of what is in the messages."""
    reader: str | None = None
    read: bool | None = None
    """Whether to read: true even if the prompt fits the window, false never."""
    fresh: bool = False
    """Whether to read anew even if there is an answer."""
    progress: Literal["reasoning", "comments", "none"] | None = None
    """What a stream has while reading: reasoning_content, comments, or only what keeps it alive."""


class ChatForm(_Form):
    model: str
    messages: Annotated[list[MessageForm], Field(min_length=1)]
    stream: bool | None = False
    stream_options: StreamForm | None = None
    max_tokens: Positive | None = None
    max_completion_tokens: Positive | None = None
    n: int | None = 1
    stop: str | list[str] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: Annotated[int, Field(ge=0, lt=1 << 31)] | None = None
    response_format: dict[str, Any] | None = None
    tools: list[Any] | None = None
    tool_choice: Any = None
    memagent: ReadingForm | None = None

    @property
    def most(self) -> int | None:
        """The most tokens that the reply may have; None if the client does not say."""
        return self.max_completion_tokens or self.max_tokens

    @property
    def stops(self) -> list[str]:
        """Texts at which the reply ends."""
        return [each for each in ([self.stop] if isinstance(self.stop, str) else self.stop or []) if each]

    @property
    def how(self) -> ReadingForm:
        return self.memagent or ReadingForm()

    def refuse_unreadable(self) -> None:
        """Raise UsageError if a reading cannot do what the request asks for."""
        kind = (self.response_format or {}).get("type", "text")
        for asked, what in (
            (self.n not in (None, 1), "n > 1"),
            (kind != "text", f"response_format {kind}"),
            (self.tool_choice not in (None, "auto", "none"), "a tool_choice that demands a tool"),
        ):
            if asked:
                raise UsageError(f"The prompt is too long for the model, and a reading cannot do {what}: leave it out.")

    @property
    def ignored(self) -> list[str]:
        """Sentences about what a reading does not do, although the request asks for it."""
        found = [name for name in ("temperature", "top_p", "seed") if getattr(self, name)]
        found += ["tools"] if self.tools and self.tool_choice != "none" else []
        return [f"The reading ignored {name}." for name in found]


def _part(part: PartForm) -> Part:
    if part.type == "text" and part.text is not None:
        return Part(text=part.text)
    if part.type == "file" and part.file and (part.file.file_id or part.file.file_data):
        return Part(file_id=part.file.file_id, file_name=part.file.filename, file_data=part.file.file_data)
    raise UsageError(f"A reading cannot look at a part of type {part.type[:40]}: send text and files.")
