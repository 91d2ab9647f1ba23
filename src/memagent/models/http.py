"""A chat over HTTP: any server that speaks OpenAI's chat completions, through the official `openai` client.

vLLM, SGLang, llama.cpp, Ollama, `transformers serve` and the clouds agree on the request and on little else. Retries of
failed requests, Retry-After, timeouts and streams are the client's. This module turns the servers' differences into one
Completion, and tries again where a reply cannot be used.
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
from memagent.models.http_sizes import at_most_tokens, longer, prompt_tokens, size
from memagent.models.reader_defaults import ReaderDefaults

_LISTING_SECONDS = 30.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 8.0  # seconds before a reply that cannot be used is asked for again
_LARGE = 1000  # tokens of a prompt that may be what a server refuses without saying why


class HttpChat:
    """A model on a server.

    Args:
        model: its name there.
        base_url: where the server's API begins, such as http://127.0.0.1:8000/v1; OpenAI's own when None.
        api_key: OPENAI_API_KEY when None; servers of your own rarely want one.
        sampling: how tokens are drawn.
        tokenizer: the model's, when at hand; else counts are estimates, corrected by what the server reports.
        window: tokens that prompt and completion may have together; asked of the server when None.
        timeout: seconds without a byte after which a try counts as failed.
        retries: tries after the first, on lost connections, timeouts, 429, 5xx, and replies that cannot be used.
        concurrency: calls in flight at once; more wait here.

    A reasoning model's reasoning never enters a text. Where the template opens it in the prompt and the server does
    not cut it out, that shows only by the closing tag: a stream shows such reasoning until then, and reasoning cut
    before it looks like a text.

    Raises:
        UsageError: `base_url` is no HTTP address, or there is neither a base_url nor a key.
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
                "or a model of this machine (`memagent models`)."
            )
        self.model = model
        self.window = window
        self.tokenizer: Tokenizer = tokenizer or EstimatedTokenizer()
        self.sampling = sampling or Sampling()
        self.defaults = ReaderDefaults()
        self.lag = 4
        self._retries = retries
        self._connections = Connections(base_url, api_key, timeout, retries, concurrency)
        self._url = self._connections.url
        self._failures = Failures(model, self._url, timeout, api_key)
        self._dialect = Dialect(model, self.sampling)
        self._counts = PromptCounts()
        self._streams = True  # False once the server has ignored `stream`
        self._listed = False  # True once the server has said what it serves
        self._replied = False  # True once there was a completion: a web page is a passing fault from then on
        self._refused: int | None = None  # tokens of the shortest prompt that it refused without saying why

    async def open(self) -> None:
        """Ask the server what it serves, and how long the model's window is. Many servers cannot say: then go on.

        Raises:
            ModelError: nothing answers at the base URL, or it wants another key.
        """
        if self._listed:
            return
        # Someone waits for the first sign of life.
        client = self._connections.here.client.with_options(timeout=_LISTING_SECONDS, max_retries=min(self._retries, 1))
        try:
            served = Listing.read(await client.get("/models", cast_to=object)).data
        except openai.APIConnectionError as error:
            raise self._failures.no_server(error) from error
        except openai.APIStatusError as error:
            if error.status_code in (401, 407, 502, 503, 504) or (error.status_code == 403 and not _said(error)):
                raise self._failures.explained(error) from error
            return
        except ValueError:  # no JSON, or no listing
            return
        self._listed = True
        self._failures.served = [each.id for each in served]
        for each in served:
            if each.id == self.model or (each.any_name and len(served) == 1):
                self.window = self.window or each.window

    def prompt_tokens(self, messages: Sequence[Message]) -> int:
        """Tokens of the messages, and an allowance for the chat template, which only the server knows."""
        return prompt_tokens(self.tokenizer, [message.content for message in messages])

    async def complete(self, request: Request, on_text: OnText | None = None) -> Completion:
        """Complete one conversation; as a stream when `on_text` is there to be called.

        A server may reply with nothing, again and again: the text is then empty, but never an answer.

        Raises:
            WindowOverflow: prompt and completion do not fit the window, by an exact count, by the server's word, or
                because the server read only a part of the prompt.
            ModelError: no completion could be had. A text that was broken off is none.
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
        """What the server did not do as it was asked."""
        vague = (
            f"{self.model} reports token counts that do not follow the prompts, so nobody would notice if it cut "
            "prompts short."
        )
        return [*self._dialect.changed, *([vague] if self._counts.meaningless else [])]

    async def close(self) -> None:
        """Close the connections of this event loop. A later call opens others."""
        await self._connections.close()

    # -- one reply ---------------------------------------------------------------------------------------------------

    async def _tried(self, request: Request, on_text: OnText | None = None, check: bool = True) -> tuple[Draft, Usage]:
        """A reply that can be used, and the tokens that it and the ones before it took."""
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
        """The reply in the parts that it comes in: one, unless it is streamed."""
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
        while True:  # ends, as a refused field is never sent again
            body = self._dialect.body(request, stream)
            try:
                client = self._connections.here.client
                if stream:
                    reply: object = await client.chat.completions.create(**body)
                else:  # without the client's own types, which take longer than all else that it does
                    reply = await client.post("/chat/completions", cast_to=object, body=body)
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                if is_overflow(error):
                    raise
                if not self._dialect.learn(body, error.response.text):
                    if self._unexplained(request):
                        raise self._failures.perhaps_too_long(error) from error
                    raise
            else:
                return reply

    def _unexplained(self, request: Request) -> bool:
        """Whether a refusal without a reason may be about the length of the prompt: once, then only if less helped."""
        tokens = self.prompt_tokens(request.messages)
        if tokens < _LARGE or request.segment is None:
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
            reply = json.loads(reply)  # sent as something else
        parsed = Reply.model_validate(reply)
        if said := not parsed.choices and (parsed.error or parsed.detail or parsed.message):
            raise self._failures.failed(said)
        return parsed

    # -- what was read -----------------------------------------------------------------------------------------------

    async def _prove(self, request: Request, draft: Draft, at_most: int, lock: asyncio.Lock) -> Usage:
        """Make sure that the server read the whole prompt. Returns what that took.

        Raises:
            WindowOverflow: it did not.
            ModelError: nor would it read a shorter one.
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
            except ModelError:  # the next call will say what is wrong; this one is paid for
                return spent
        if not whole:
            raise self._truncated(request)
        if isinstance(self.tokenizer, EstimatedTokenizer) and self._counts.bytes_per_token:
            text = "".join(message.content for message in request.messages)
            self.tokenizer.correct(text, max(read, round(prompt / self._counts.bytes_per_token)))
        return spent

    def _truncated(self, request: Request) -> ModelError:
        """The server would read only a part of the prompt."""
        assert self._counts.limit is not None
        own = len(request.segment.text.encode("utf-8", "replace")) if request.segment else 0
        if own < size(request) - own:  # most of it is question, memory and template: a shorter section cannot help
            return self._failures.truncates(self._counts.limit)
        return WindowOverflow(
            f"{self.model} at {self._url} reads only about {self._counts.limit:,} tokens of a prompt: "
            "lower --segment-tokens."
        )

    def _check_window(self, request: Request, window: int) -> None:
        """Count a prompt that may be too long.

        Raises:
            WindowOverflow: it is.
        """
        tokens = self.prompt_tokens(request.messages)
        if tokens + request.max_tokens > window:
            raise WindowOverflow(
                f"The prompt has {tokens:,} tokens and the completion may have {request.max_tokens:,}, more than the "
                f"{window:,} of {self.model} at {self._url}: lower --segment-tokens."
            )

    def _usage(self, request: Request, draft: Draft) -> Usage:
        """What the server counted, where that can be true; else an estimate."""
        read, written = (getattr(draft.usage, name, None) for name in ("prompt_tokens", "completion_tokens"))
        # No token is shorter than a byte; 1,000 for a server's own system prompt.
        if not isinstance(read, int) or not 1 <= read <= size(request) + 1000:
            read = self.prompt_tokens(request.messages)
        if not isinstance(written, int) or not bool(draft.text) <= written <= request.max_tokens:
            written = count(self.tokenizer, draft.text)
        return Usage(read, written)


def _said(error: openai.APIStatusError) -> bool:
    return isinstance(error.body, dict)
