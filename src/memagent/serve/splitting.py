"""Split a conversation that is too long for the model into a problem and the documents to read for it.

1. If the client says outright what the question is, and what the documents are, that counts.
2. Else the question is the last message of the user. The documents are all files, and the earlier messages.
3. If that message is itself too long for a question, all of it is a document, too. The question is then its first and
   its last line, because instructions stand before or after a long text. A line that is too long counts with its first
   or last words.

A short system message goes before the question. A long one is a document. If the last message is the assistant's, the
reply continues it: it goes after the question.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from memagent.errors import UsageError

Fits = Callable[[str, int], bool]
"""A function that says whether a text has at most so many tokens."""

_END = 256
"""Tokens of the first and of the last line of a long message."""
_SYSTEM = 256
"""Tokens of a system message that goes before the question."""
_CUT = 400  # characters of a line that is too long


@dataclass(frozen=True, slots=True)
class Part:
    """Text or a file in a conversation. A file has an id, or a name and content as a data URL."""

    text: str = ""
    file_id: str = ""
    file_name: str = ""
    file_data: str = ""


@dataclass(frozen=True, slots=True)
class Said:
    """One message of a conversation."""

    role: str
    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        return "\n".join(part.text for part in self.parts if part.text)

    @property
    def files(self) -> list[Part]:
        return [part for part in self.parts if part.file_id or part.file_data]


@dataclass(frozen=True, slots=True)
class Problem:
    """A question, and the texts and files to read for it. The answer goes on after `prefix`."""

    question: str
    texts: tuple[tuple[str, str], ...]
    """Names and contents."""
    files: tuple[Part, ...]
    prefix: str = ""


def split(conversation: Sequence[Said], question_tokens: int, fits: Fits, question: str = "") -> Problem:
    """Return the problem in a conversation, see above.

    Args:
        question_tokens: the most tokens that a question may have.
        question: the question, if the client said it outright. Then all messages are documents.

    Raises:
        UsageError: there is no message of the user.
    """
    prefix = conversation[-1].text if conversation and conversation[-1].role == "assistant" else ""
    messages = list(conversation[:-1] if prefix else conversation)
    files = tuple(file for message in messages for file in message.files)
    if question:
        return Problem(question, _texts(messages), files, prefix)
    last = max((place for place, each in enumerate(messages) if each.role == "user"), default=None)
    if last is None:
        raise UsageError("There is no message with the role user: ask something in one.")
    system = [each for each in messages if each.role in ("system", "developer")]
    rules = "\n".join(each.text for each in system if each.text)
    if not fits(rules, min(_SYSTEM, question_tokens // 4)):
        rules = ""
    earlier = [each for place, each in enumerate(messages) if place != last and not (rules and each in system)]
    own = messages[last].text
    room = question_tokens // 2
    problem, texts = own, _texts(earlier)
    if not fits(own, room):
        problem, texts = _ends(own, min(_END, room // 2), fits), (*texts, ("message", own))
    elif not texts and not files:
        texts = (("message", own),)
    return Problem("\n".join(part for part in (rules, problem, prefix) if part.strip()), texts, files, prefix)


def without(prefix: str, reply: str) -> str:
    """Return a reply without the prefix that it should have continued, in case the model repeated it."""
    return reply[len(prefix.strip()) :].lstrip() if prefix.strip() and reply.startswith(prefix.strip()) else reply


def _texts(messages: Iterable[Said]) -> tuple[tuple[str, str], ...]:
    """Return messages as one text, each with its role. A single message is returned as it is."""
    spoken = [message for message in messages if message.text.strip()]
    if not spoken:
        return ()
    if len(spoken) == 1:
        return (("message", spoken[0].text),)
    return (("conversation", "\n\n".join(f"{message.role}: {message.text}" for message in spoken)),)


def _ends(text: str, tokens: int, fits: Fits) -> str:
    """Return the first and the last line of a long text, or what fits of them."""
    body = text.strip()
    first, last = body.split("\n", 1)[0].strip(), body.rsplit("\n", 1)[-1].strip()
    if not fits(first, tokens):
        first = _trimmed(first[:_CUT].rpartition(" ")[0] or first[:_CUT], fits, tokens)
    if not fits(last, tokens):
        last = _trimmed(last[-_CUT:].partition(" ")[2] or last[-_CUT:], fits, tokens)
    return last if first == last else f"{first}\n{last}"


def _trimmed(text: str, fits: Fits, tokens: int) -> str:
    """Halve a text until it fits: 400 characters can have more tokens in some scripts."""
    while not fits(text, tokens):
        text = text[: len(text) // 2]
    return text
