"""Measure prompts, in tokens and in bytes, for a server whose chat template is unknown."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from memagent.core.records import Message, Request
from memagent.core.tokenizer import Tokenizer, count

_PROMPT_ALLOWANCE = 32
"""Tokens that a chat template may add to a prompt: a default system message (SmolLM2, Qwen: about 22) and the opening
of the reply."""

_SEAMS = 16
"""Tokens that a prompt may have on top of the sum of its parts."""

_MESSAGE_ALLOWANCE = 8
"""Tokens that a chat template may add to a message: its role and the marks around it (ChatML and Llama 3: 5)."""

_PROBE_TOKENS = 16  # length of a probe's completion, which nobody reads; some servers refuse fewer


def prompt_tokens(tokenizer: Tokenizer, contents: Iterable[str]) -> int:
    """Return the number of tokens of the messages, with an allowance for the chat template."""
    return _PROMPT_ALLOWANCE + sum(count(tokenizer, content) + _MESSAGE_ALLOWANCE for content in contents)


def at_most_tokens(tokenizer: Tokenizer, request: Request) -> int:
    """Return an upper bound on `prompt_tokens`. It does not count the segment again, because its tokens are known."""
    segment, contents = request.segment, [message.content for message in request.messages]
    if segment is None or segment.text not in contents[0]:
        return prompt_tokens(tokenizer, contents)
    contents[0] = contents[0].replace(segment.text, "", 1)
    return prompt_tokens(tokenizer, contents) + segment.tokens + _SEAMS


def longer(request: Request, share: float) -> Request:
    """Return the request with a `share` of its text repeated in front; for 0, a request of one word."""
    first, *others = request.messages
    added = first.content[: max(1, round(share * len(first.content)))]
    longer = (replace(first, content=f"{added}\n{first.content}"), *others)
    return replace(request, messages=longer if share else (Message("user", "Hello"),), max_tokens=_PROBE_TOKENS)


def size(request: Request) -> int:
    """Return the number of bytes of the prompt."""
    return sum(len(message.content.encode("utf-8", "replace")) for message in request.messages)


def shown(request: Request) -> str:
    """Return the part of a prompt that a reader can make shorter: the segment, or the notes to merge; else empty."""
    return request.segment.text if request.segment else dict(request.fields).get("notes", "")
