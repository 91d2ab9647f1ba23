"""A chat over HTTP: any server that speaks OpenAI's chat completions, through the official `openai` client.

vLLM, SGLang, llama.cpp, Ollama, `transformers serve` and the clouds agree on the request and on little else. Retries,
Retry-After, timeouts and streams are the client's; what is here turns their differences into one Completion, and
their failures into one sentence that says what to do next.
"""

from __future__ import annotations

import asyncio
import difflib
import json
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import openai
from pydantic import BaseModel, ConfigDict

from memagent.chat import OnText, Sampling
from memagent.errors import ModelError, UsageError, WindowOverflow
from memagent.records import Completion, Finish, Message, Request, Usage
from memagent.tokenizer import EstimatedTokenizer, Tokenizer, count

if TYPE_CHECKING:
    import httpx2

PROMPT_ALLOWANCE = 32
"""Tokens a chat template may add to a prompt: a default system message (SmolLM2, Qwen: about 22) and the opening of
the reply."""

MESSAGE_ALLOWANCE = 8
"""Tokens a chat template may add to a message: its role and the marks around it (ChatML and Llama 3: 5)."""

_OVERFLOWS = re.compile(
    r"context_length_exceeded|exceed_context_size|exceeds? the (available|maximum|model's) context"
    r"|maximum context length|model's context length|context[ _](window|size|length) exceeded"
    r"|exceeds? the (model's )?context (window|size|length)|too many tokens|(prompt|input) is too long"
    r"|input token count .* exceeds|`inputs` tokens|maximum prompt length",
    re.IGNORECASE,
)
"""How servers say that a prompt is longer than the window."""

_WINDOWS = ("max_model_len", "context_length", "context_window")  # vLLM and SGLang, OpenRouter, Groq
_BROKEN_OFF = {"abort", "cancelled", "content_filter", "error"}  # finish reasons that mean the text is not all there
_OPEN, _CLOSE = "<think>", "</think>"
_LISTING_SECONDS, _CONNECT_SECONDS, _QUOTED = 30.0, 5.0, 300
_GO_ON = "run the same command again to go on"


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
        sampling: Sampling = Sampling(),  # noqa: B008  (frozen)
        tokenizer: Tokenizer | None = None,
        window: int | None = None,
        timeout: float = 600,
        retries: int = 5,
        concurrency: int = 16,
    ) -> None:
        base_url = base_url or os.environ.get("OPENAI_BASE_URL") or None
        api_key = api_key or os.environ.get("OPENAI_API_KEY") or (base_url and "none")
        if base_url is not None:
            _check_address(base_url)
        if not api_key:
            raise UsageError(f"There is no key for {model}: set OPENAI_API_KEY, or give --base-url for another server.")
        self.model = model
        self.window = window
        self.tokenizer: Tokenizer = tokenizer or EstimatedTokenizer()
        self.sampling = sampling
        self._timeout = timeout
        self._slots = asyncio.Semaphore(concurrency)
        self._served: list[str] = []
        self._limit = "max_tokens"  # newer models of OpenAI take it by another name
        self._streams = True  # False once the server has ignored `stream`
        self._stream_usage = True  # False once the server has refused stream_options
        self._client = openai.AsyncOpenAI(
            api_key=api_key,
            base_url=base_url,
            max_retries=retries,
            timeout=openai.Timeout(timeout, connect=min(timeout, _CONNECT_SECONDS)),
            http_client=openai.DefaultAsyncHttpxClient(event_hooks={"response": [_retry_no_overflow]}),
        )
        url = urlsplit(str(self._client.base_url))
        self._url = f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path}".rstrip("/")  # without a password

    async def open(self) -> None:
        """Ask the server what it serves, and how long the model's window is. Many servers cannot say: then go on.

        Raises:
            ModelError: nothing answers at the base URL, or it wants another key.
        """
        retries = min(self._client.max_retries, 1)  # someone waits for the first sign of life
        client = self._client.with_options(timeout=min(self._timeout, _LISTING_SECONDS), max_retries=retries)
        try:
            listing = _by_name(await client.get("/models", cast_to=object))
        except openai.APIConnectionError as error:
            raise ModelError(
                f"No model server answers at {self._url} ({_cause(error)}): start the server, or check --base-url."
            ) from error
        except openai.APIStatusError as error:
            if error.status_code in (401, 403, 502, 503, 504):
                raise self._explained(error) from error
            return
        except ValueError:  # not JSON
            return
        self._served = list(listing)
        entry = listing.get(self.model) or listing.get(f"{self.model}:latest")
        if entry is None and len(listing) == 1:  # llama.cpp serves one model, by whatever name it is asked for
            entry = next(iter(listing.values()))
        if self.window is None and entry is not None:
            self.window = _window(entry)

    def prompt_tokens(self, messages: Sequence[Message]) -> int:
        """Tokens of the messages, and an allowance for the chat template, which only the server knows."""
        return PROMPT_ALLOWANCE + sum(count(self.tokenizer, m.content) + MESSAGE_ALLOWANCE for m in messages)

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
        async with self._slots:
            started = time.perf_counter()
            streamed = await self._streamed(request, on_text) if on_text and self._streams else None
            reply = streamed or await self._whole(request)
            seconds = time.perf_counter() - started
        text, finish = self._text(request, reply)
        if on_text and not streamed:
            on_text(text)
        return Completion(text, finish, self._usage(request, text, reply.usage, seconds))

    async def close(self) -> None:
        await self._client.close()

    async def _whole(self, request: Request) -> _Reply:
        with self._explaining():
            return self._read(await self._ask(request, stream=False))

    async def _streamed(self, request: Request, on_text: OnText) -> _Reply | None:
        """The reply put together from a stream; None from a server that sends none."""
        with self._explaining():
            stream = await self._ask(request, stream=True)
        said, content, reasoning, shown = False, "", False, ""
        begun, finish, usage = False, None, None
        async with stream:
            if re.search("html|json", stream.response.headers.get("content-type", "")):
                self._streams = False
                return None
            chunks = aiter(stream)
            while True:
                with self._explaining(begun):
                    chunk = await anext(chunks, None)
                    if chunk is None:
                        break
                    part = _Reply.model_validate(chunk)
                begun = True
                usage = part.usage or usage
                for choice in part.choices or ():
                    finish = choice.finish_reason or finish
                    if delta := choice.delta:
                        reasoning = reasoning or delta.reasons
                        said = said or delta.content is not None
                        content += delta.content or ""
                text = "" if _OPEN.startswith(content.lstrip()) else _without_reasoning(content)[0]
                if text != shown:
                    on_text(text)
                    shown = text
        if finish is None:
            raise self._cut()
        message = _Words(content=content if said or finish == "stop" else None, reasoning=reasoning)
        return _Reply(choices=[_Choice(message=message, finish_reason=finish)], usage=usage)

    async def _ask(self, request: Request, stream: bool) -> Any:
        while True:  # ends, as a refused field is never sent again
            body = self._body(request, stream)
            try:
                return await self._client.chat.completions.create(**body)
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                refusal = _full_text(error)
                if _OVERFLOWS.search(refusal):
                    raise
                if "max_tokens" in body and "max_completion_tokens" in refusal:
                    self._limit = "max_completion_tokens"
                elif "stream_options" in body and "stream_options" in refusal:
                    self._stream_usage = False
                else:
                    raise

    def _body(self, request: Request, stream: bool) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.model,
            # Half a surrogate pair, as a document may hold, cannot be sent.
            "messages": [
                {"role": m.role, "content": m.content.encode("utf-8", "replace").decode()} for m in request.messages
            ],
            "temperature": self.sampling.temperature,
            self._limit: request.max_tokens,
        }
        if self.sampling.top_p is not None:
            body["top_p"] = self.sampling.top_p
        if self.sampling.seed is not None:
            body["seed"] = self.sampling.seed
        if stream:
            body["stream"] = True
            if self._stream_usage:
                body["stream_options"] = {"include_usage": True}
        return body

    def _read(self, reply: object) -> _Reply:
        if isinstance(reply, str) and re.match(r"\s*<", reply):
            hint = "check --base-url" if self._url.endswith("/v1") else "--base-url should probably end in /v1"
            raise ModelError(f"{self._url} answers with a web page where {self.model} was asked: {hint}.")
        parsed = _Reply.model_validate(reply)
        if parsed.error and not parsed.choices:
            raise self._failed(json.dumps(parsed.error), _message(parsed.error))
        return parsed

    def _text(self, request: Request, reply: _Reply) -> tuple[str, Finish]:
        choice = reply.choices[0] if reply.choices else None
        if choice is None or choice.message is None:
            raise ModelError(
                f"{self.model} at {self._url} sent a reply without a choice in it: look at the server's log, "
                f"then {_GO_ON}."
            )
        if choice.finish_reason in _BROKEN_OFF:
            raise ModelError(
                f'{self.model} at {self._url} broke off its reply (finish reason "{choice.finish_reason}"): '
                f"look at the server's log, then {_GO_ON}."
            )
        cut = choice.finish_reason in ("length", "max_tokens")
        text, reasoned = _without_reasoning(choice.message.content or "")
        reasoned = reasoned or choice.message.reasons or (cut and not text)  # OpenAI does not show its reasoning
        if reasoned and not text.strip():
            if not cut:
                raise ModelError(
                    f"{self.model} at {self._url} sent its reasoning and no text: check the server's reasoning parser, "
                    f"then {_GO_ON}."
                )
            flag = "--answer-tokens" if request.segment is None else "--memory-tokens"
            raise ModelError(
                f"{self.model} at {self._url} spent all {request.max_tokens:,} tokens on reasoning and wrote no text: "
                f"raise {flag}, or switch its reasoning off."
            )
        if choice.message.content is None:
            raise ModelError(
                f"{self.model} at {self._url} sent a reply without text: see that it is a chat model, then {_GO_ON}."
            )
        return text, "length" if cut else "stop"

    def _usage(self, request: Request, text: str, reported: object, seconds: float) -> Usage:
        """What the server counted, where that can be true; else an estimate. Corrects an estimating tokenizer."""
        prompt = "".join(message.content for message in request.messages)
        size = len(prompt.encode("utf-8", "replace"))
        # No token is shorter than a byte; 1,000 for a server's own system prompt.
        prompt_tokens = _number(reported, "prompt_tokens", 1, size + 1000)
        completion_tokens = _number(
            reported, "completion_tokens", 1 if text else 0, request.max_tokens + len(text.encode("utf-8", "replace"))
        )
        if prompt_tokens is None:
            prompt_tokens = self.prompt_tokens(request.messages)
        elif isinstance(self.tokenizer, EstimatedTokenizer) and 1 <= size / prompt_tokens <= 8:
            self.tokenizer.correct(prompt, prompt_tokens)
        if completion_tokens is None:
            completion_tokens = count(self.tokenizer, text)
        return Usage(prompt_tokens, completion_tokens, seconds)

    @contextmanager
    def _explaining(self, begun: bool = False) -> Iterator[None]:
        """Turns what the client raises into a ModelError; `begun` once a stream has brought something."""
        try:
            yield
        except openai.APIError as error:
            raise self._explained(error) from error
        except ValueError as error:  # not JSON, or not what a completion looks like
            if begun:
                raise self._cut() from error
            raise ModelError(
                f"{self.model} at {self._url} sent a reply that is no chat completion: see that --base-url leads to an "
                f"OpenAI-compatible server, then {_GO_ON}."
            ) from error

    def _explained(self, error: openai.APIError) -> ModelError:
        tries = _tries(error)
        who = f"{self.model} at {self._url}"
        if isinstance(error, openai.APITimeoutError):
            return ModelError(
                f"{who} sent nothing for {self._timeout:g} seconds in {tries}: see whether the server is overloaded, "
                f"then {_GO_ON}."
            )
        if isinstance(error, openai.APIConnectionError):
            return ModelError(
                f"The connection to {who} was lost in {tries} ({_cause(error)}): see that the server still runs, "
                f"then {_GO_ON}."
            )
        said = _message(error.body)
        if not isinstance(error, openai.APIStatusError):  # an error in the middle of a stream
            return self._failed(_full_text(error), said or error.message)
        status = error.status_code
        if status == 413 or (status in (400, 422, 500) and _OVERFLOWS.search(_full_text(error))):
            return self._overflow(said)
        quoted = f": “{said}”" if said else ""
        if status in (401, 403):
            return ModelError(f"{self._url} refused the key for {self.model} ({status}): check OPENAI_API_KEY.")
        named = error.code == "model_not_found" or re.search(rf"(?<!\w){re.escape(self.model)}(?!\w)", said)
        if self._served and self.model not in self._served and (status == 404 or (status == 400 and named)):
            return ModelError(f"{self._url} does not serve {self.model}: it serves {self._names()}.")
        if status in (404, 405):
            return ModelError(
                f"{self._url} knows no such model or address ({status} for {self.model}{quoted}): check --model, and "
                "that --base-url ends in /v1 where the server wants that."
            )
        if status == 429:
            wait = error.response.headers.get("retry-after")
            asked = f"; it asks to wait {wait} seconds" if wait and wait.isdigit() else ""
            return ModelError(
                f"{who} had too many requests or no quota left (429) in {tries}{asked}{quoted}: wait, or make fewer "
                f"calls at once, then {_GO_ON}."
            )
        if status >= 500:
            return ModelError(
                f"{who} failed with status {status} in {tries}{quoted}: look at the server's log, then {_GO_ON}."
            )
        hint = "check --model" if named else "change what it refuses"
        return ModelError(f"{who} refused the request ({status}{quoted}): {hint}, then {_GO_ON}.")

    def _failed(self, full_text: str, said: str) -> ModelError:
        """For an error that came with status 200."""
        if _OVERFLOWS.search(full_text):
            return self._overflow(said)
        return ModelError(f"{self.model} at {self._url} failed: “{said}”: look at the server's log, then {_GO_ON}.")

    def _cut(self) -> ModelError:
        return ModelError(
            f"{self._url} broke off the reply of {self.model} in the middle, and none of it is kept: "
            f"see that the server still runs, then {_GO_ON}."
        )

    def _overflow(self, said: str) -> WindowOverflow:
        quoted = f" (“{said}”)" if said else ""
        return WindowOverflow(
            f"The prompt is longer than the window of {self.model} at {self._url}{quoted}: lower --segment-tokens."
        )

    def _names(self) -> str:
        """The models served; of many, those whose names are most like the one asked for."""
        names = self._served
        if len(names) > 8:
            names = difflib.get_close_matches(self.model, names, n=8, cutoff=0)
        more = len(self._served) - len(names)
        return ", ".join(names) + (f" and {more:,} more" if more else "")


class _Part(BaseModel):
    """What is read of a reply; a server may send more. Validates the client's objects, which it does not itself."""

    model_config = ConfigDict(from_attributes=True)


class _Words(_Part):
    content: str | None = None
    reasoning_content: Any = None
    reasoning: Any = None

    @property
    def reasons(self) -> bool:
        return bool(self.reasoning_content or self.reasoning)


class _Choice(_Part):
    message: _Words | None = None
    delta: _Words | None = None
    finish_reason: str | None = None


class _Reply(_Part):
    choices: list[_Choice] | None = None
    usage: Any = None
    error: Any = None


def _check_address(base_url: str) -> None:
    try:
        url = urlsplit(base_url)
        sound = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        sound = False
    if not sound:
        raise UsageError(f"{base_url} is no address of a server: give --base-url one like http://127.0.0.1:8000/v1.")


async def _retry_no_overflow(response: httpx2.Response) -> None:
    """Some servers call an overflow an internal error, which the client would retry in vain."""
    if response.status_code == 500:
        await response.aread()
        if _OVERFLOWS.search(response.text):
            response.headers["x-should-retry"] = "false"


def _by_name(listing: object) -> dict[str, dict[str, Any]]:
    """The entries of GET /models, whatever came back."""
    data = listing.get("data") if isinstance(listing, dict) else listing
    entries = data if isinstance(data, list) else []
    return {entry["id"]: entry for entry in entries if isinstance(entry, dict) and isinstance(entry.get("id"), str)}


def _window(entry: Mapping[str, Any]) -> int | None:
    meta = entry.get("meta")
    meta = meta if isinstance(meta, dict) else {}  # llama.cpp
    for value in (*(entry.get(name) for name in _WINDOWS), meta.get("n_ctx"), meta.get("n_ctx_train")):
        if isinstance(value, int) and value > 0:
            return value
    return None


def _without_reasoning(content: str) -> tuple[str, bool]:
    """The text after a leading <think> block, and whether there was one; its opening tag may be in the prompt."""
    before, closed, text = content.partition(_CLOSE)
    if content.lstrip().startswith(_OPEN):
        return text.lstrip(), True
    if closed and _OPEN not in before:
        return text.lstrip(), True
    return content, False


def _number(reported: object, name: str, least: int, most: int) -> int | None:
    value = reported.get(name) if isinstance(reported, dict) else getattr(reported, name, None)
    return value if isinstance(value, int) and least <= value <= most else None


def _full_text(error: openai.APIError) -> str:
    """All that the server said, to search in."""
    return error.response.text if isinstance(error, openai.APIStatusError) else f"{error.message} {error.body}"


def _message(body: object) -> str:
    """What a server said in an error, on one line and not too long; empty for a web page."""
    if isinstance(body, dict):
        body = body.get("message") or body.get("detail") or json.dumps(body)
    text = " ".join(str(body or "").split()).rstrip(".")
    if text.startswith("<"):
        return ""
    return text if len(text) <= _QUOTED else text[:_QUOTED] + "…"


def _tries(error: openai.APIError) -> str:
    """How often the client tried, by the header it counts in."""
    tries = int(error.request.headers.get("x-stainless-retry-count", 0)) + 1
    return f"{tries} tries" if tries > 1 else "1 try"


def _cause(error: openai.APIConnectionError) -> str:
    """What the transport said, which the client only calls a connection error."""
    return str(error.__cause__ or error).rstrip(".") or type(error.__cause__).__name__
