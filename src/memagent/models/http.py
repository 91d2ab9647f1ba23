"""Chat with any server that offers OpenAI's chat completions, through the official `openai` client.

vLLM, SGLang, llama.cpp, Ollama, `transformers serve` and cloud services agree on the request and on little else. The
client handles retries of failed requests, Retry-After, timeouts and streams. This module turns the servers' different
replies into one kind of Completion, and asks again when a reply cannot be used.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import httpx2
import openai

from memagent.core.records import Completion, Message, Request, Usage
from memagent.core.tokenizer import EstimatedTokenizer, Tokenizer, count
from memagent.errors import ModelError, UsageError, WindowOverflow
from memagent.models.chat import OnText, Sampling
from memagent.models.http_client import Connections, Tail
from memagent.models.http_counts import PromptCounts
from memagent.models.http_dialect import Dialect
from memagent.models.http_failures import BadReply, Failures, is_overflow
from memagent.models.http_replies import Draft, Listing, Reply
from memagent.models.http_sizes import at_most_tokens, longer, prompt_tokens, shown, size
from memagent.models.reader_defaults import ReaderDefaults

_LISTING_SECONDS = 30.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 8.0  # seconds to wait before asking again after an unusable reply
_LARGE = 1000  # tokens; from this size on, a refusal without a reason may mean that the prompt is too long


class HttpChat:
    """A model on a server.

    Args:
        model: the model's name on the server.
        base_url: the address of the API, such as http://127.0.0.1:8000/v1. When None: OPENAI_BASE_URL, or OpenAI's own.
        api_key: OPENAI_API_KEY when None; servers of your own rarely need one.
        sampling: sampling settings; greedy decoding when None.
        tokenizer: the model's tokenizer. Without it, counts are estimates, corrected by what the server reports.
        window: tokens that prompt and completion may have together; the server is asked when None.
        timeout: seconds without a byte after which a try counts as failed.
        retries: tries after the first, on lost connections, timeouts, 429, 5xx and unusable replies.
        concurrency: number of calls in flight at once; further calls wait.

    The text of a completion does not include the model's reasoning, with one exception. If the chat template opens the
    reasoning in the prompt and the server leaves it in the reply, only the closing tag gives it away. A stream shows
    such reasoning until that tag, and reasoning that was cut off before the tag is taken for the text.

    Raises:
        UsageError: `base_url` is not an HTTP address, or there is neither a base_url nor a key.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None,
        api_key: str | None = None,
        sampling: Sampling | None = None,
        tokenizer: Tokenizer | None = None,
        window: int | None = None,
        timeout: float = 600,
        retries: int = 5,
        concurrency: int = 16,
    ) -> None:
        base_url = (base_url or os.environ.get("OPENAI_BASE_URL") or "").strip() or None
        api_key = api_key or os.environ.get("OPENAI_API_KEY") or (base_url and "none")
        if not api_key:
            raise UsageError(
                f"There is no key for {model}: set OPENAI_API_KEY, or give --base-url for another server, "
                "or use a model on this machine (`memagent models`)."
            )
        self.model = model
        self.window = window
        self.tokenizer: Tokenizer = tokenizer or EstimatedTokenizer()
        self.sampling = sampling or Sampling()
        self.defaults = ReaderDefaults()
        self.concurrency = concurrency
        self.lag = 4
        self._retries = retries
        self._connections = Connections(base_url, api_key, timeout, retries, concurrency)
        self._url = self._connections.url
        self._failures = Failures(model, self._url, timeout, api_key)
        self._dialect = Dialect(model, self.sampling)
        self._counts = PromptCounts()
        self._streams = True  # False once the server has ignored `stream`
        self._listed = False  # True once the server has listed its models
        self._replied = False  # True after the first completion: from then on, a web page is a temporary fault
        self._refused: int | None = None  # tokens of the last prompt that may have been refused for its length

    async def open(self) -> None:
        """Ask the server for its models and the model's window. It is not an error if the server cannot say.

        Raises:
            ModelError: no server answers at the base URL, or it refuses the key.
        """
        if self._listed:
            return
        # Fail early here, because the user is waiting for a first sign of life.
        client = self._connections.here.client.with_options(timeout=_LISTING_SECONDS, max_retries=min(self._retries, 1))
        try:
            served = Listing.read(await client.get("/models", cast_to=object)).data
        except openai.APIConnectionError as error:
            raise self._failures.no_server(error) from error
        except openai.APIStatusError as error:
            if error.status_code in (401, 407, 502, 503, 504) or (error.status_code == 403 and not _said(error)):
                raise self._failures.explained(error) from error
            return
        except ValueError:  # not JSON, or not a list of models
            return
        self._listed = True
        self._failures.served = [each.id for each in served]
        for each in served:
            if each.id == self.model or (each.any_name and len(served) == 1):
                self.window = self.window or each.window

    def prompt_tokens(self, messages: Sequence[Message]) -> int:
        """Number of tokens of the messages, plus an allowance for the chat template, which only the server knows."""
        return prompt_tokens(self.tokenizer, [message.content for message in messages])

    async def complete(self, request: Request, on_text: OnText | None = None) -> Completion:
        """Complete one conversation, as a stream if `on_text` is given.

        If all replies to a memory prompt are empty, the text is empty. If all replies to an answer prompt are empty,
        this raises a ModelError.

        Raises:
            WindowOverflow: prompt and completion do not fit the window, by an exact count or by the server's own
                account, or the server read only part of the prompt.
            ModelError: there is no usable completion. A text that was broken off does not count as one.
        """
        at_most = at_most_tokens(self.tokenizer, request) if self.tokenizer.exact else 0
        if self.window is not None and self.tokenizer.exact and at_most + request.max_tokens > self.window:
            self._check_window(request, self.window)
        if not self._counts.fits(size(request)):
            raise self._truncated(request)
        here = self._connections.here
        async with here.slots:
            started = time.perf_counter()
            draft, usage = await self._tried(request, on_text)
            usage += await self._prove(request, draft, at_most, here.probing)
            seconds = time.perf_counter() - started
        return Completion(draft.text, "length" if draft.cut else "stop", replace(usage, seconds=seconds))

    @property
    def warnings(self) -> list[str]:
        """Messages about settings that the server did not accept, and about useless token counts."""
        vague = (
            f"{self.model} reports token counts that do not follow the prompts, so nobody would notice if it cut "
            "prompts short."
        )
        return [*self._dialect.changed, *([vague] if self._counts.meaningless else [])]

    async def forward(self, path: str, content: bytes) -> httpx2.Response:
        """Post a JSON request to the server as it is. The caller reads and closes the response."""
        with self._failures.told():
            return await self._connections.post(path, content)

    async def close(self) -> None:
        """Close the connections of this event loop. A later call opens new ones."""
        await self._connections.close()

    # -- one reply ---------------------------------------------------------------------------------------------------

    async def _tried(self, request: Request, on_text: OnText | None = None, check: bool = True) -> tuple[Draft, Usage]:
        """Return a usable reply, and the tokens that it and the replies before it cost."""
        usage = Usage()
        for left in range(self._retries, -1, -1):
            try:
                draft = await self._draft(request, on_text)
                self._replied = True
                usage += self._usage(request, draft)
                if check:
                    self._failures.check(request, draft, last=not left)
            except BadReply:
                if not left:
                    raise
                await asyncio.sleep(min(_FIRST_PAUSE * 2 ** (self._retries - left), _LONGEST_PAUSE))
            else:
                break
        return draft, usage

    async def _draft(self, request: Request, on_text: OnText | None) -> Draft:
        draft, shown = Draft(), ""
        async with aclosing(self._parts(request, stream=on_text is not None)) as parts:
            async for part in parts:
                draft.add(part)
                if on_text and draft.shown != shown:
                    shown = draft.shown
                    on_text(shown)
        return draft

    async def _parts(self, request: Request, stream: bool) -> AsyncGenerator[Reply]:
        """Yield the parts of a reply as they arrive. A reply that is not streamed has one part."""
        with self._failures.told():
            if stream and self._streams:
                async with await self._ask(request, stream=True) as chunks:
                    self._streams = not re.search("html|json", chunks.response.headers.get("content-type", ""))
                    if self._streams:
                        finished = False
                        try:
                            async for chunk in chunks:
                                part = Reply.model_validate(chunk)
                                finished = finished or part.finish is not None
                                yield part
                        except ValueError as error:
                            raise self._failures.cut() from error
                        except openai.APIConnectionError as error:
                            raise self._failures.dropped(error) from error
                        tail = chunks.response.stream
                        if not finished and not (isinstance(tail, Tail) and tail.done):
                            raise self._failures.cut()
                        return
            yield self._read(await self._ask(request, stream=False))

    async def _ask(self, request: Request, stream: bool) -> Any:
        while True:  # ends because a refused field is never sent again
            body = self._dialect.body(request, stream)
            try:
                client = self._connections.here.client
                if stream:
                    reply: object = await client.chat.completions.create(**body)
                else:  # without the client's own types, which take longer than everything else it does
                    reply = await client.post("/chat/completions", cast_to=object, body=body)
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                if is_overflow(error.status_code, error.response.text):
                    raise
                if not self._dialect.learn(body, error.response.text):
                    if self._unexplained(request):
                        raise self._failures.perhaps_too_long(error) from error
                    raise
            else:
                return reply

    def _unexplained(self, request: Request) -> bool:
        """Whether an unexplained refusal may mean that the prompt is too long.

        It does not if a longer prompt was refused before, because then a shorter prompt did not help.
        """
        tokens = self.prompt_tokens(request.messages)
        if tokens < _LARGE or not shown(request):
            return False
        if self._refused is None or tokens >= self._refused:
            self._refused = tokens
            return True
        return False

    def _read(self, reply: object) -> Reply:
        if isinstance(reply, str):
            if reply.lstrip().startswith("<"):
                page = self._failures.web_page()
                raise BadReply(str(page)) if self._replied else page
            reply = json.loads(reply)  # JSON with another content type
        parsed = Reply.model_validate(reply)
        if said := not parsed.choices and (parsed.error or parsed.detail or parsed.message):
            raise self._failures.failed(said)
        return parsed

    # -- what was read -----------------------------------------------------------------------------------------------

    async def _prove(self, request: Request, draft: Draft, at_most: int, lock: asyncio.Lock) -> Usage:
        """Make sure that the server read the whole prompt. Returns the tokens that the check cost.

        Raises:
            WindowOverflow: the server read only part of the prompt.
            ModelError: the same, and a shorter segment would not help.
        """
        prompt, read = size(request), getattr(draft.usage, "prompt_tokens", None)
        if not isinstance(read, int) or not 1 <= read <= prompt + 1000:
            return Usage()
        if self.tokenizer.exact and (
            read >= 0.98 * at_most or read >= 0.98 * sum(count(self.tokenizer, m.content) for m in request.messages)
        ):
            return Usage()
        spent = Usage()

        async def probe(share: float) -> int | None:
            nonlocal spent
            try:
                reply, usage = await self._tried(longer(request, share), check=False)
            except WindowOverflow:
                return None
            spent += usage
            counted = getattr(reply.usage, "prompt_tokens", None)
            return counted if isinstance(counted, int) else None

        async with lock:
            try:
                whole = await self._counts.whole(prompt, read, probe)
            except ModelError:  # this completion is paid for; the next call will report the fault
                return spent
        if not whole:
            raise self._truncated(request)
        if isinstance(self.tokenizer, EstimatedTokenizer) and self._counts.bytes_per_token:
            text = "".join(message.content for message in request.messages)
            self.tokenizer.correct(text, max(read, round(prompt / self._counts.bytes_per_token)))
        return spent

    def _truncated(self, request: Request) -> ModelError:
        """Return the error for a prompt that the server would read only in part."""
        assert self._counts.limit is not None
        own = len(shown(request).encode("utf-8", "replace"))
        if own < size(request) - own:  # mostly other text: a shorter segment, or fewer notes, cannot help
            return self._failures.truncates(self._counts.limit)
        return WindowOverflow(
            f"{self.model} at {self._url} reads only about {self._counts.limit:,} tokens of a prompt: "
            "lower --segment-tokens."
        )

    def _check_window(self, request: Request, window: int) -> None:
        """Count the tokens of a prompt that may be too long.

        Raises:
            WindowOverflow: prompt and completion do not fit the window.
        """
        tokens = self.prompt_tokens(request.messages)
        if tokens + request.max_tokens > window:
            raise WindowOverflow(
                f"The prompt has {tokens:,} tokens and the completion may have {request.max_tokens:,}, more than the "
                f"{window:,} in the window of {self.model} at {self._url}: lower --segment-tokens."
            )

    def _usage(self, request: Request, draft: Draft) -> Usage:
        """Return the server's token counts if they are plausible, or else estimates."""
        read, written = (getattr(draft.usage, name, None) for name in ("prompt_tokens", "completion_tokens"))
        # No token is shorter than a byte. Another 1,000 tokens allow for the server's own system prompt.
        if not isinstance(read, int) or not 1 <= read <= size(request) + 1000:
            read = self.prompt_tokens(request.messages)
        if not isinstance(written, int) or not bool(draft.text) <= written <= request.max_tokens:
            written = count(self.tokenizer, draft.text)
        return Usage(read, written)


def _said(error: openai.APIStatusError) -> bool:
    return isinstance(error.body, dict)
