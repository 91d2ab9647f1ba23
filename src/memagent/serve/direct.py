"""Pass prompts that fit the window straight to the model, and return its reply unchanged."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from dataclasses import replace

import httpx2
from fastapi import Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from memagent.core.records import Completion, Message
from memagent.core.records import Request as ModelRequest
from memagent.errors import ModelError, UsageError, WindowOverflow
from memagent.models.chat import Chat, Sampling
from memagent.models.http import HttpChat
from memagent.models.http_failures import is_overflow
from memagent.models.local import LocalChat
from memagent.serve.clients import present
from memagent.serve.faults import body, described
from memagent.serve.forms import ChatForm
from memagent.serve.replies import DONE, ChatReply, event
from memagent.serve.service import Service
from memagent.serve.slots import SharedChat

_COMPLETION = 1024  # tokens in a reply, if the client sets no maximum


class Direct:
    """Passes prompts on to the service's model. The prompts share the model's slots with the readings."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def reply(self, form: ChatForm, owner: str, request: Request) -> Response:
        """Return the model's reply.

        Raises:
            WindowOverflow: the prompt does not fit the window after all.
            ModelError: the model cannot be reached or fails.
            UsageError: the request asks for something that a local model does not support.
        """
        owner = f"{owner} direct"  # so that a short prompt does not wait behind the owner's own readings
        if isinstance(self._service.chat, HttpChat):
            return await present(request, self._forwarded(self._service.chat, form, owner))
        model_request = self._request(form)
        chat = SharedChat(self._sampled(form), self._service.worker.calls, owner)
        if form.stream:
            return await self._streamed(chat, model_request, form)
        return await present(request, self._completed(chat, model_request, form))

    # -- a model on a server ----------------------------------------------------------------------------------------

    async def _forwarded(self, chat: HttpChat, form: ChatForm, owner: str) -> Response:
        asked = form.model_dump(exclude_unset=True, exclude={"memagent"}) | {"model": chat.model}
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._service.worker.calls.take(owner))
            response = await chat.forward("/chat/completions", json.dumps(asked).encode())
            stack.push_async_callback(response.aclose)
            if form.stream and response.status_code < 400:
                return _Forwarded(response, stack.pop_all())
            content = await response.aread()
        if response.status_code >= 400 and is_overflow(response.status_code, content.decode("utf-8", "replace")):
            raise WindowOverflow(
                f"The prompt is longer than the window of {chat.model}: shorten it, or set memagent.read to true."
            )
        return Response(content, response.status_code, media_type=response.headers.get("content-type"))

    # -- a model on this machine ------------------------------------------------------------------------------------

    def _request(self, form: ChatForm) -> ModelRequest:
        if form.n not in (None, 1):
            raise UsageError("A local model returns one reply per request: leave out n.")
        conversation = [message.said() for message in form.messages]
        messages = [Message("system" if said.role == "developer" else said.role, said.text) for said in conversation]
        if len(messages) > 1 and messages[-1].role == "assistant":  # the reply continues the assistant's message
            asked, begun = messages[-2:]
            messages[-2:] = [replace(asked, content=f"{asked.content}\n{begun.content}")]
        chat, most = self._service.chat, form.most
        if most is None:
            most = min(_COMPLETION, chat.window // 4) if chat.window else _COMPLETION
        return ModelRequest(tuple(messages), most, kind="direct")

    def _sampled(self, form: ChatForm) -> Chat:
        chat = self._service.chat
        if isinstance(chat, LocalChat) and (form.temperature is not None or form.top_p is not None):
            return chat.sampled(Sampling(form.temperature or 0.0, form.top_p, form.seed))
        return chat

    async def _completed(self, chat: Chat, request: ModelRequest, form: ChatForm) -> Response:
        completion = await chat.complete(request)
        text, finish = _stopped(completion.text, completion.finish, form.stops)
        return JSONResponse(ChatReply(form.model).whole(text, finish, completion.usage))

    async def _streamed(self, chat: Chat, request: ModelRequest, form: ChatForm) -> Response:
        """Return a stream. It starts once there is text, so that an earlier error still gets its own HTTP status."""
        texts: asyncio.Queue[str | None] = asyncio.Queue()
        completing = asyncio.create_task(chat.complete(request, texts.put_nowait))
        completing.add_done_callback(lambda _: texts.put_nowait(None))
        try:
            first = await texts.get()
            if first is None:
                await completing
        except BaseException:
            completing.cancel()
            raise
        return StreamingResponse(_deltas(first, texts, completing, form), media_type="text/event-stream")


async def _deltas(
    first: str | None, texts: asyncio.Queue[str | None], completing: asyncio.Task[Completion], form: ChatForm
) -> AsyncGenerator[bytes]:
    reply, sent, text = ChatReply(form.model), "", first
    # The last characters may be the start of a stop text.
    held = max((len(each) for each in form.stops), default=1) - 1
    try:
        yield reply.chunk({"role": "assistant", "content": ""})
        while text is not None:
            shown, ended = _stopped(text, "", form.stops)
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
        shown, finish = _stopped(completion.text, completion.finish, form.stops)
        yield reply.chunk({"content": shown[len(sent) :]} if shown != sent else {}, finish)
        if form.stream_options and form.stream_options.include_usage:
            yield reply.last(completion.usage)
        yield DONE
    finally:
        completing.cancel()


def _stopped(text: str, finish: str, stops: list[str]) -> tuple[str, str]:
    """Return the text up to the first stop text, and the finish reason."""
    ends = [place for stop in stops if (place := text.find(stop)) >= 0]
    return (text[: min(ends)], "stop") if ends else (text, finish)


class _Forwarded(StreamingResponse):
    """Forwards the stream of a model's server. At the end, `stack` closes the response and gives back the slot."""

    def __init__(self, response: httpx2.Response, stack: AsyncExitStack) -> None:
        super().__init__(_bytes(response), response.status_code, media_type=response.headers.get("content-type"))
        self._stack = stack

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._stack:
            await super().__call__(scope, receive, send)


async def _bytes(response: httpx2.Response) -> AsyncGenerator[bytes]:
    try:
        async for data in response.aiter_bytes():
            yield data
    except httpx2.HTTPError as error:
        yield event(
            body(f"The model's server broke off its reply ({error}): send the request again.", "server_error", "model")
        )
