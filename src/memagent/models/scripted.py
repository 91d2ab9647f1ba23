"""A fake chat with scripted replies, for tests of memagent and of programs built on it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from memagent.core.records import Completion, Message, Request, Usage
from memagent.core.tokenizer import ByteTokenizer, Tokenizer, count
from memagent.errors import ModelError, UsageError, WindowOverflow
from memagent.models.chat import OnText, Sampling
from memagent.models.reader_defaults import ReaderDefaults

Reply = Callable[[Request], str]


class ScriptedChat:
    """Replies with the next text of a list, or with the result of a function of the request.

    Args:
        replies: a function from Request to text, or texts to use one by one.
        tokenizer: the tokenizer that counts tokens; by default, each byte is a token.
        window: tokens that prompt and completion may have together; a longer request raises WindowOverflow.
        keep: whether to keep every request in `requests`.
    """

    model = "scripted"
    sampling = Sampling()
    defaults = ReaderDefaults()
    concurrency = 16
    lag = 0
    warnings: Sequence[str] = ()

    def __init__(
        self,
        replies: Reply | Iterable[str],
        *,
        tokenizer: Tokenizer | None = None,
        window: int | None = None,
        keep: bool = True,
    ) -> None:
        if callable(replies):
            self._reply: Reply = replies
        else:
            texts = iter(replies)
            self._reply = lambda request: next(texts)
        self.tokenizer = tokenizer or ByteTokenizer()
        self.window = window
        self.requests: list[Request] = []
        self._keep = keep

    async def open(self) -> None:
        pass

    def prompt_tokens(self, messages: Sequence[Message]) -> int:
        return sum(count(self.tokenizer, message.content) for message in messages)

    async def complete(self, request: Request, on_text: OnText | None = None) -> Completion:
        started = time.perf_counter()
        prompt = self.prompt_tokens(request.messages)
        if self.window is not None and prompt + request.max_tokens > self.window:
            raise WindowOverflow(f"The prompt has {prompt:,} tokens; the window holds {self.window:,}.")
        if self._keep:
            self.requests.append(request)
        try:
            text = self._reply(request)
        except StopIteration as error:
            raise ModelError("The script has no replies left: add lines to it.") from error
        if on_text:
            on_text(text)
        usage = Usage(prompt, count(self.tokenizer, text), time.perf_counter() - started)
        return Completion(text, "stop", usage)

    async def close(self) -> None:
        pass


def load_script(path: str | Path, window: int | None = None) -> ScriptedChat:
    """Load a script from a file with one JSON string per line. The chat uses them in order and repeats the last one."""
    try:
        lines = Path(path).read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The script {path} cannot be read: {error}.") from error
    texts: list[str] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            text = json.loads(line)
        except json.JSONDecodeError as error:
            raise UsageError(f"Line {number} of the script {path} is not JSON: {error}.") from error
        if not isinstance(text, str):
            raise UsageError(f"Line {number} of the script {path} is not a JSON string.")
        texts.append(text)
    if not texts:
        raise UsageError(f"The script {path} is empty: give one JSON string per line.")
    position = -1

    def reply(request: Request) -> str:
        nonlocal position
        position = min(position + 1, len(texts) - 1)
        return texts[position]

    return ScriptedChat(reply, window=window, keep=False)
