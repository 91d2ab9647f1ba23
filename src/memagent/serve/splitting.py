"""Split a conversation that is too long for the model into a question and the documents to read for it.

1. If the client gives the question explicitly, that is the question.
2. If it does not, the question is the user's last message. The documents are all files and the earlier messages.
3. If that message is too long to be a question, the whole message is a document, too. The question is then its first
   and last lines, because instructions usually come before or after a long text. If one of these lines is too long,
   only its first or last words are used.

A short system message goes before the question. A long system message is a document. If the last message is the
assistant's, it goes after the question, and the reply continues it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from memagent.core.tokenizer import Tokenizer, count
from memagent.errors import UsageError

Fits = Callable[[str, int], bool]
"""A function that returns whether a text has at most the given number of tokens."""

LONGEST_TOKEN = 32
"""Number of characters per token that no text exceeds."""
_END = 256
"""Maximum tokens in the first line of a long message, and also in the last line."""
_SYSTEM = 256
"""Maximum tokens in a system message that goes before the question."""
_CUT = 400  # characters to keep of a line that is too long


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
    """A question, and the texts and files to read for it. The answer continues `prefix`."""

    question: str
    texts: tuple[tuple[str, str], ...]
    """Name and content of each text."""
    files: tuple[Part, ...]
    prefix: str = ""


def split(conversation: Sequence[Said], question_tokens: int, fits: Fits, question: str = "") -> Problem:
    """Return the question and documents of a conversation. The rules are at the top of this file.

    Args:
        question_tokens: maximum number of tokens in a question.
        question: the question, if the client gave it explicitly. All messages are then documents.

    Raises:
        UsageError: the user has sent no message.
    """
    prefix = conversation[-1].text if conversation and conversation[-1].role == "assistant" else ""
    messages = list(conversation[:-1] if prefix else conversation)
    files = tuple(file for message in messages for file in message.files)
    if question:
        return Problem(question, _texts(messages), files, prefix)
    last = max((place for place, each in enumerate(messages) if each.role == "user"), default=None)
    if last is None:
        raise UsageError("There is no message with the role user: send the question in one.")
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
    begun = _trimmed(prefix[-_CUT:], fits, room // 4)  # only its last words, if it is long
    return Problem("\n".join(part for part in (rules, problem, begun) if part.strip()), texts, files, prefix)


def fitting(tokenizer: Tokenizer) -> Fits:
    """Return a function that counts with a tokenizer. It does not tokenize a text that is far too long."""
    return lambda text, tokens: len(text) <= LONGEST_TOKEN * tokens and count(tokenizer, text) <= tokens


def without(prefix: str, reply: str) -> str:
    """Return a reply without the prefix, in case the model repeated the prefix instead of continuing it."""
    return reply[len(prefix.strip()) :].lstrip() if prefix.strip() and reply.startswith(prefix.strip()) else reply


def _texts(messages: Iterable[Said]) -> tuple[tuple[str, str], ...]:
    """Return messages as one named text, each with its role. A single message is returned as it is."""
    spoken = [message for message in messages if message.text.strip()]
    if not spoken:
        return ()
    if len(spoken) == 1:
        return (("message", spoken[0].text),)
    return (("conversation", "\n\n".join(f"{message.role}: {message.text}" for message in spoken)),)


def _ends(text: str, tokens: int, fits: Fits) -> str:
    """Return the first and last lines of a long text, each shortened to fit."""
    body = text.strip()
    first, last = body.split("\n", 1)[0].strip(), body.rsplit("\n", 1)[-1].strip()
    if not fits(first, tokens):
        first = _trimmed(first[:_CUT].rpartition(" ")[0] or first[:_CUT], fits, tokens)
    if not fits(last, tokens):
        last = _trimmed(last[-_CUT:].partition(" ")[2] or last[-_CUT:], fits, tokens)
    return last if first == last else f"{first}\n{last}"


def _trimmed(text: str, fits: Fits, tokens: int) -> str:
    """Halve a text until it fits, because 400 characters have too many tokens in some scripts."""
    while not fits(text, tokens):
        text = text[: len(text) // 2]
    return text
