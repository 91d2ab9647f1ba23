"""Pass prompts that fit the window straight to the model, and return its reply unchanged."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import replace
from typing import Any

import httpx2
from fastapi import Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from memagent.core.records import Completion, Message, Usage
from memagent.core.records import Request as ModelRequest
from memagent.core.tokenizer import count
from memagent.errors import ModelError, UsageError, WindowOverflow
from memagent.models.chat import Chat, OnText, Sampling
from memagent.models.http import HttpChat
from memagent.models.http_failures import is_overflow
from memagent.models.local import LocalChat
from memagent.serve.clients import present
from memagent.serve.faults import body, described
from memagent.serve.forms import ChatForm
from memagent.serve.replies import DONE, ChatReply, event, stopped
from memagent.serve.service import Service
from memagent.serve.slots import SharedChat

_ROLES = {"system", "developer", "user", "assistant"}
_TAIL = 4096  # bytes
_END = re.compile(rb'\[DONE\]|"finish_reason": ?"')
_HEADERS = ("content-type", "retry-after", "x-request-id", "x-ratelimit-", "openai-")
_COMPLETION = 1024  # tokens in a reply, if the client sets no maximum


class Direct:
    """Passes prompts on to the service's model. The prompts share the model's slots with the readings."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def reply(self, form: ChatForm, owner: str, request: Request, may_read: bool) -> Response:
        """Return the model's reply.

        Args:
            may_read: whether to raise WindowOverflow if the model's server says that the prompt is too long. If false,
                the client gets the server's own reply.

        Raises:
            WindowOverflow: the prompt does not fit the window after all.
            ModelError: the model cannot be reached or fails.
            UsageError: the request asks for something that a local model does not support.
        """
        owner = f"{owner} direct"  # so that a short prompt does not wait behind the owner's own readings
        if isinstance(self._service.chat, HttpChat):
            asked = await request.json()  # as the client wrote it
            asked.pop("memagent", None)
            stream = bool(form.stream)
            return await present(request, self._forwarded(self._service.chat, asked, stream, owner, may_read))
        model_request = self._request(form)
        chat = SharedChat(self._sampled(form), self._service.worker.calls, owner)
        if form.stream:
            return await present(request, self._streamed(chat, model_request, form))
        return await present(request, self._completed(chat, model_request, form))

    # -- a model on a server ----------------------------------------------------------------------------------------

    async def _forwarded(
        self, chat: HttpChat, asked: dict[str, Any], stream: bool, owner: str, may_read: bool
    ) -> Response:
        content = json.dumps(asked | {"model": chat.model}).encode()
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._service.worker.calls.take(owner))
            response = await chat.forward("/chat/completions", content)
            stack.push_async_callback(response.aclose)
            if stream and response.status_code < 400:
                return _Forwarded(response, stack.pop_all())
            try:
                said = await response.aread()
            except httpx2.HTTPError as error:
                raise ModelError(f"{chat.model} broke off its reply ({error}): send the request again.") from error
        if may_read and is_overflow(response.status_code, said.decode("utf-8", "replace")):
            raise WindowOverflow(f"The prompt is longer than the window of {chat.model}: shorten it.")
        return Response(said, response.status_code, _kept(response))

    # -- a model on this machine ------------------------------------------------------------------------------------

    def _request(self, form: ChatForm) -> ModelRequest:
        form.check("a local model")
        conversation = [message.said() for message in form.messages]
        if unknown := {said.role for said in conversation} - _ROLES:
            raise UsageError(f"A message has the role {unknown.pop()[:100]}: give {', '.join(sorted(_ROLES))}.")
        if any(said.files for said in conversation):
            raise UsageError("A local model cannot open files: leave out memagent.read, so that they are read.")
        messages = [Message("system" if said.role == "developer" else said.role, said.text) for said in conversation]
        if len(messages) > 1 and messages[-1].role == "assistant":  # the reply continues the assistant's message
            asked, begun = messages[-2:]
            messages[-2:] = [replace(asked, content=f"{asked.content}\n{begun.content}")]
        chat, most = self._service.chat, form.most
        if most is None:
            most = min(_COMPLETION, chat.window // 4) if chat.window else _COMPLETION
        if chat.window:  # a short prompt may ask for more than the window has left
            used = sum(count(chat.tokenizer, message.content) + 8 for message in messages) + 64
            most = max(1, min(most, chat.window - used))
        return ModelRequest(tuple(messages), most, kind="direct")

    def _sampled(self, form: ChatForm) -> Chat:
        chat = self._service.chat
        if isinstance(chat, LocalChat) and (form.temperature is not None or form.top_p is not None):
            return chat.sampled(Sampling(form.temperature or 0.0, form.top_p, form.seed))
        return chat

    async def _completed(self, chat: Chat, request: ModelRequest, form: ChatForm) -> Response:
        completion = await _complete(chat, request, form.stops)
        text, finish = stopped(completion.text, completion.finish, form.stops)
        warnings = form.ignored_by("the local model", ("temperature", "top_p", "seed"))
        about = {"warnings": warnings} if warnings else None
        return JSONResponse(ChatReply(form.model).whole(text, finish, completion.usage, about=about))

    async def _streamed(self, chat: Chat, request: ModelRequest, form: ChatForm) -> Response:
        """Return a stream. It starts once there is text, so that an earlier error still gets its own HTTP status."""
        texts: asyncio.Queue[str | None] = asyncio.Queue()
        completing = asyncio.create_task(_complete(chat, request, form.stops, texts.put_nowait))
        completing.add_done_callback(lambda _: texts.put_nowait(None))
        with ExitStack() as undo:
            undo.callback(completing.cancel)
            first = await texts.get()
            if first is None:
                await completing
            undo.pop_all()
        return StreamingResponse(_deltas(first, texts, completing, form), media_type="text/event-stream")


async def _complete(
    chat: Chat, request: ModelRequest, stops: Sequence[str], on_text: OnText | None = None
) -> Completion:
    """Complete a prompt, and stop the model as soon as it has written one of the stop texts."""
    found: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def watch(text: str) -> None:
        if on_text:
            on_text(text)
        if not found.done() and any(stop in text for stop in stops):
            found.set_result(text)

    completing = asyncio.create_task(chat.complete(request, watch))
    either: list[asyncio.Future[Any]] = [completing, found]
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if completing.done():
            return completing.result()
    finally:
        completing.cancel()
        await asyncio.wait([completing])
    text = found.result()
    prompt = sum(count(chat.tokenizer, message.content) for message in request.messages)  # without the chat template
    return Completion(text, "stop", Usage(prompt, count(chat.tokenizer, text)))


async def _deltas(
    first: str | None, texts: asyncio.Queue[str | None], completing: asyncio.Task[Completion], form: ChatForm
) -> AsyncGenerator[bytes]:
    reply, sent, text = ChatReply(form.model), "", first
    # The last characters may be the start of a stop text.
    held = max((len(each) for each in form.stops), default=1) - 1
    try:
        yield reply.chunk({"role": "assistant", "content": ""})
        while text is not None:
            shown, ended = stopped(text, "", form.stops)
            shown = shown if ended else shown[: len(shown) - held]
            if shown.startswith(sent) and shown != sent:
                yield reply.chunk({"content": shown[len(sent) :]})
                sent = shown
            text = await texts.get()
        try:
            completion = await completing
        except ModelError as error:
            yield event(described(error)[1])
            return
        shown, finish = stopped(completion.text, completion.finish, form.stops)
        yield reply.chunk({"content": shown[len(sent) :]} if shown != sent else {}, finish)
        if form.stream_options and form.stream_options.include_usage:
            yield reply.last(completion.usage)
        yield DONE
    finally:
        completing.cancel()


class _Forwarded(StreamingResponse):
    """Forwards the stream of a model's server. At the end, `stack` closes the response and gives back the slot."""

    def __init__(self, response: httpx2.Response, stack: AsyncExitStack) -> None:
        super().__init__(_bytes(response), response.status_code, _kept(response))
        self._stack = stack

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._stack:
            await super().__call__(scope, receive, send)


async def _bytes(response: httpx2.Response) -> AsyncGenerator[bytes]:
    """Yield the events of a stream as they arrive, each whole, and an error event if the stream breaks off."""
    last, held, why = b"", b"", "it ended early"
    try:
        async for data in response.aiter_bytes():
            last, held = (last + data)[-_TAIL:], held + data
            whole = max(held.rfind(b"\n\n") + 2, held.rfind(b"\r\n\r\n") + 4)
            if whole >= 4:
                yield held[:whole]
                held = held[whole:]
    except httpx2.HTTPError as error:
        why = str(error) or type(error).__name__
    if _END.search(last):
        yield held
    else:
        said = f"The model's server broke off its reply ({why}): send the request again."
        yield event(body(said, "server_error", "model"))


def _kept(response: httpx2.Response) -> dict[str, str]:
    """Return the headers of a server's reply that clients look at."""
    return {name: value for name, value in response.headers.items() if name.lower().startswith(_HEADERS)}
