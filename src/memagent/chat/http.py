"""A chat over HTTP: any server that speaks OpenAI's chat completions, through the official `openai` client.

vLLM, SGLang, llama.cpp, Ollama, `transformers serve` and the clouds agree on the request and on little else. Retries,
Retry-After, timeouts and streams are the client's; what is here turns their differences into one Completion.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import openai
from pydantic import HttpUrl

from memagent.chat import OnText, Sampling
from memagent.chat.http_failures import Failures, is_overflow
from memagent.chat.http_replies import Draft, Listing, Reply
from memagent.errors import ModelError, UsageError, WindowOverflow
from memagent.habits import Habits
from memagent.records import Completion, Message, Request, Usage
from memagent.tokenizer import EstimatedTokenizer, Tokenizer, count

_PROMPT_ALLOWANCE = 32
"""Tokens a chat template may add to a prompt: a default system message (SmolLM2, Qwen: about 22) and the opening of
the reply."""

_MESSAGE_ALLOWANCE = 8
"""Tokens a chat template may add to a message: its role and the marks around it (ChatML and Llama 3: 5)."""

_BROKEN_OFF = {"abort", "cancelled", "content_filter", "error"}  # finish reasons that mean the text is not all there
_CONNECT_SECONDS, _LISTING_SECONDS = 5.0, 30.0


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
        retries: tries after the first, on lost connections, timeouts, 429 and 5xx.
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
        base_url = base_url or os.environ.get("OPENAI_BASE_URL") or None
        api_key = api_key or os.environ.get("OPENAI_API_KEY") or (base_url and "none")
        try:
            if base_url:
                HttpUrl(base_url)
        except ValueError as error:
            raise UsageError(
                f"{base_url} is no address of a server: give --base-url one like http://127.0.0.1:8000/v1."
            ) from error
        if not api_key:
            raise UsageError(
                f"There is no key for {model}: set OPENAI_API_KEY, or give --base-url for another server, "
                "or a model of this machine (`memagent models`)."
            )
        self.model = model
        self.window = window
        self.tokenizer: Tokenizer = tokenizer or EstimatedTokenizer()
        self.sampling = sampling or Sampling()
        self.habits = Habits()
        self._slots = asyncio.Semaphore(concurrency)
        self._limit = "max_tokens"  # newer models of OpenAI take it by another name
        self._streams = True  # False once the server has ignored `stream`
        self._listed = False  # True once the server has said what it serves
        self._stream_usage = True  # False once the server has refused stream_options
        self._client = openai.AsyncOpenAI(
            api_key=api_key,
            base_url=base_url,
            max_retries=retries,
            timeout=openai.Timeout(timeout, connect=min(timeout, _CONNECT_SECONDS)),
        )
        self._url = str(self._client.base_url.copy_with(userinfo=b"")).rstrip("/")  # without a password
        self._failures = Failures(model, self._url, timeout)

    async def open(self) -> None:
        """Ask the server what it serves, and how long the model's window is. Many servers cannot say: then go on.

        Raises:
            ModelError: nothing answers at the base URL, or it wants another key.
        """
        if self._listed:
            return
        # Someone waits for the first sign of life.
        client = self._client.with_options(timeout=_LISTING_SECONDS, max_retries=min(self._client.max_retries, 1))
        try:
            served = Listing.model_validate(await client.get("/models", cast_to=object)).data
        except openai.APIConnectionError as error:
            raise self._failures.no_server(error) from error
        except openai.APIStatusError as error:
            if error.status_code in (401, 403, 502, 503, 504):
                raise self._failures.explained(error) from error
            return
        except ValueError:  # no JSON, or no listing
            return
        self._listed = True
        self._failures.served = [each.id for each in served]
        for each in served:
            # llama.cpp serves one model, by whatever name it is asked for.
            if each.id == self.model or len(served) == 1:
                self.window = self.window or each.window or None

    def prompt_tokens(self, messages: Sequence[Message]) -> int:
        """Tokens of the messages, and an allowance for the chat template, which only the server knows."""
        return _PROMPT_ALLOWANCE + sum(count(self.tokenizer, m.content) + _MESSAGE_ALLOWANCE for m in messages)

    async def complete(self, request: Request, on_text: OnText | None = None) -> Completion:
        """Complete one conversation; as a stream when `on_text` is there to be called.

        Raises:
            WindowOverflow: prompt and completion do not fit the window, by an exact count or by the server's word.
            ModelError: no completion could be had. A text that was broken off is none.
        """
        tokens = self.prompt_tokens(request.messages)
        if self.window is not None and self.tokenizer.exact and tokens + request.max_tokens > self.window:
            raise WindowOverflow(
                f"The prompt has {tokens:,} tokens and the completion may have {request.max_tokens:,}, more than the "
                f"{self.window:,} of {self.model} at {self._url}: lower --segment-tokens."
            )
        draft, shown = Draft(), ""
        async with self._slots:
            started = time.perf_counter()
            async with aclosing(self._parts(request, stream=on_text is not None)) as parts:
                async for part in parts:
                    draft.add(part)
                    if on_text and draft.shown != shown:
                        shown = draft.shown
                        on_text(shown)
            seconds = time.perf_counter() - started
        cut = draft.finish in ("length", "max_tokens")
        self._check(request, draft, cut)
        usage = self._usage(request, draft.text, draft.usage, seconds)
        return Completion(draft.text, "length" if cut else "stop", usage)

    async def close(self) -> None:
        await self._client.close()

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
                        if not finished:
                            raise self._failures.cut()
                        return
            yield self._read(await self._ask(request, stream=False))

    async def _ask(self, request: Request, stream: bool) -> Any:
        while True:  # ends, as a refused field is never sent again
            body = self._body(request, stream)
            try:
                return await self._client.chat.completions.create(**body)
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                refusal = error.response.text
                if is_overflow(error):
                    raise
                if "max_tokens" in body and "max_completion_tokens" in refusal:
                    self._limit = "max_completion_tokens"
                elif "stream_options" in body and "stream_options" in refusal:
                    self._stream_usage = False
                else:
                    raise

    def _body(self, request: Request, stream: bool) -> dict[str, Any]:
        body = {
            "model": self.model,
            # Half a surrogate pair, as a document may hold, cannot be sent.
            "messages": [
                {"role": m.role, "content": m.content.encode("utf-8", "replace").decode()} for m in request.messages
            ],
            "temperature": self.sampling.temperature,
            "top_p": self.sampling.top_p,
            "seed": self.sampling.seed,
            self._limit: request.max_tokens,
            "stream": stream or None,
            "stream_options": {"include_usage": True} if stream and self._stream_usage else None,
        }
        return {name: value for name, value in body.items() if value is not None}

    def _read(self, reply: object) -> Reply:
        if isinstance(reply, str) and reply.lstrip().startswith("<"):
            raise self._failures.web_page()
        parsed = Reply.model_validate(reply)
        if parsed.error and not parsed.choices:
            raise self._failures.failed(parsed.error)
        return parsed

    def _check(self, request: Request, draft: Draft, cut: bool) -> None:
        """Refuse a reply that is not the whole text."""
        if draft.finish in _BROKEN_OFF:
            raise self._failures.error(
                f'broke off its reply (finish reason "{draft.finish}")', "look at the server's log"
            )
        if cut and not draft.text.strip() and (draft.reasoned or not draft.text):  # OpenAI hides its reasoning
            flag = "--answer-tokens" if request.segment is None else "--memory-tokens"
            raise ModelError(
                f"{self.model} at {self._url} spent all {request.max_tokens:,} tokens on reasoning and wrote no text: "
                f"raise {flag}, or switch its reasoning off."
            )
        if draft.reasoned and not draft.text.strip():
            raise self._failures.error("sent its reasoning and no text", "check the server's reasoning parser")
        if draft.content is None:
            raise self._failures.error("sent a reply without text", "see that it is a chat model")

    def _usage(self, request: Request, text: str, reported: object, seconds: float) -> Usage:
        """What the server counted, where that can be true; else an estimate. Corrects an estimating tokenizer."""
        prompt = "".join(message.content for message in request.messages)
        size = len(prompt.encode("utf-8", "replace"))
        read, written = (getattr(reported, name, None) for name in ("prompt_tokens", "completion_tokens"))
        # No token is shorter than a byte; 1,000 for a server's own system prompt.
        if not isinstance(read, int) or not 1 <= read <= size + 1000:
            read = self.prompt_tokens(request.messages)
        elif isinstance(self.tokenizer, EstimatedTokenizer) and 1 <= size / read <= 8:
            self.tokenizer.correct(prompt, read)
        if not isinstance(written, int) or not bool(text) <= written <= request.max_tokens:
            written = count(self.tokenizer, text)
        return Usage(read, written, seconds)
