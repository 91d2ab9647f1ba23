"""OpenAI's chat completions. A prompt that fits the window goes straight to the model; memagent reads a longer one."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from memagent.core.tokenizer import count
from memagent.errors import DocumentError, MemagentError, Stopped, WindowOverflow
from memagent.evidence.timeline import Change
from memagent.models.reader_defaults import ReaderDefaults
from memagent.serve.clients import owner_of, present, with_patience
from memagent.serve.direct import Direct
from memagent.serve.faults import described
from memagent.serve.forms import ChatForm
from memagent.serve.intake import keep_data, keep_named, keep_text
from memagent.serve.job import Job
from memagent.serve.outcome import Outcome
from memagent.serve.replies import DONE, KEEP_ALIVE, ChatReply, annotations_of, citation_of, event, stopped
from memagent.serve.service import Service
from memagent.serve.shelf import StoredReading
from memagent.serve.splitting import LONGEST_TOKEN, Problem, fitting, split, without

_COMPLETION = 1024  # tokens to leave for the reply if the client does not say

ALIAS = "memagent"
"""Name that always stands for the service's model."""


class ChatDoor:
    """The handlers of /v1/chat/completions and /v1/models.

    Args:
        read_over: number of tokens above which a prompt is read; None for the model's default, see `_longest`.
        progress: how a stream reports progress, unless the client asks for another way.
    """

    def __init__(self, service: Service, read_over: int | None = None, progress: str = "reasoning") -> None:
        self._service, self._read_over, self._progress = service, read_over, progress
        self._direct = Direct(service)
        self._fits = fitting(service.chat.tokenizer)

    def router(self) -> APIRouter:
        router = APIRouter()
        router.add_api_route("/v1/models", self.models, methods=["GET"])
        router.add_api_route("/v1/models/{name:path}", self.one_model, methods=["GET"])
        router.add_api_route("/v1/chat/completions", self.complete, methods=["POST"], response_model=None)
        return router

    async def models(self) -> dict[str, Any]:
        """List the model, under its own name and as "memagent"."""
        return {"object": "list", "data": [_model(name) for name in (self._service.chat.model, ALIAS)]}

    async def one_model(self, name: str) -> JSONResponse:
        """Describe one of the models."""
        if refused := self._refused(name):
            return refused
        return JSONResponse(_model(name))

    async def complete(self, form: ChatForm, request: Request) -> Response:
        """Answer a conversation of any length."""
        if refused := self._refused(form.model):
            return refused
        owner = owner_of(request)
        if not self._must_read(form):
            may_read = form.how.read is None and not self._fits_all(form.texts, self._longest(0) // 2)
            try:
                return await self._direct.reply(form, owner, request, may_read)
            except WindowOverflow:
                if not may_read:
                    raise
        form.check("a reading")
        problem = split(
            [message.said() for message in form.messages], self._service.budget.question, self._fits,
            form.how.question or "",
        )  # fmt: skip
        self._service.check(problem.question, form.how.reader)
        documents = await self._documents(form, problem, owner)
        stored = self._service.start(
            owner, problem.question, documents, reader=form.how.reader, detached=False, fresh=form.how.fresh
        )
        if form.stream:
            return StreamingResponse(self._stream(form, problem, stored), media_type="text/event-stream")
        return await present(request, self._whole(form, problem, stored))

    # -- what to do -------------------------------------------------------------------------------------------------

    def _refused(self, name: str) -> JSONResponse | None:
        if name in (ALIAS, self._service.chat.model):
            return None
        error = f"There is no model {name[:100]} here: use {self._service.chat.model}, or {ALIAS}."
        found = {"message": error, "type": "invalid_request_error", "param": "model", "code": "model_not_found"}
        return JSONResponse({"error": found}, 404)

    def _must_read(self, form: ChatForm) -> bool:
        how = form.how
        if how.read is not None:
            return how.read
        if how.question or how.documents:
            return True
        if any(part.type == "file" for part in form.parts):
            return True
        return not self._fits_all(form.texts, self._longest(form.most or _COMPLETION))

    def _longest(self, completion: int) -> int:
        """Return the number of tokens in the longest prompt that goes straight to the model.

        By default, every prompt that fits the window goes to the model. A model that was trained to read does better
        if it reads every prompt that is longer than one segment.
        """
        service = self._service
        if self._read_over:
            return self._read_over
        if service.chat.defaults != ReaderDefaults():
            return service.budget.segment
        budget = service.budget
        window = service.chat.window or budget.question + budget.segment + 2 * budget.memory
        return window - min(completion, window // 4)

    def _fits_all(self, texts: list[str], tokens: int) -> bool:
        if sum(map(len, texts)) > LONGEST_TOKEN * tokens:
            return False
        return sum(count(self._service.chat.tokenizer, text) + 8 for text in texts) + 32 <= tokens

    async def _documents(self, form: ChatForm, problem: Problem, owner: str) -> list[str]:
        """Return the ids of the documents to read."""
        service, found = self._service, []
        if form.how.documents:
            return await keep_named(service, owner, form.how.documents)
        for file in problem.files:
            if file.file_id:
                found.append(file.file_id)
            else:
                found.append((await keep_data(service, owner, file.file_name, file.file_data)).id)
        for name, text in problem.texts:
            found.append((await keep_text(service, owner, name, text)).id)
        if not found:
            raise DocumentError("There is nothing to read: send a document or a longer message.")
        return found

    # -- replies ----------------------------------------------------------------------------------------------------

    async def _whole(self, form: ChatForm, problem: Problem, stored: StoredReading) -> Response:
        with self._service.worker.attached(stored) as job:
            if job:
                await job.end()
        outcome = await self._answered(stored, job)
        text, finish = self._finished(form, problem, outcome)
        annotations = annotations_of(outcome.citations)
        about = _about(form, stored, outcome)
        return JSONResponse(ChatReply(form.model).whole(text, finish, outcome.usage, annotations, about))

    async def _stream(self, form: ChatForm, problem: Problem, stored: StoredReading) -> AsyncGenerator[bytes]:
        reply, progress = ChatReply(form.model), form.how.progress or self._progress
        yield reply.chunk({"role": "assistant", "content": ""})
        with self._service.worker.attached(stored) as job:
            if job:
                told = -1
                async for _ in with_patience(job.news()):
                    new = [step.change for step in job.steps if step.change.turn > told]
                    if new:
                        told = new[-1].turn
                    if not new or progress == "none":
                        yield KEEP_ALIVE
                    elif progress == "comments":
                        yield f": {_line(job, new)}\n\n".encode()
                    else:
                        yield reply.chunk({"reasoning_content": _line(job, new) + "\n"})
        try:
            outcome = await self._answered(stored, job)
        except MemagentError as error:
            yield event(described(error)[1])
            return
        text, finish = self._finished(form, problem, outcome)
        yield reply.chunk({"content": text})
        annotations = annotations_of(outcome.citations)
        last = {"annotations": annotations} if annotations else {}
        yield reply.chunk(last, finish, _about(form, stored, outcome))
        if form.stream_options and form.stream_options.include_usage:
            yield reply.last(outcome.usage)
        yield DONE

    async def _answered(self, stored: StoredReading, job: Job | None) -> Outcome:
        """Return the outcome of a reading that has ended, or raise the error that ended it."""
        if job and job.error:
            raise job.error
        now = job.stored if job else self._service.find(stored.owner, stored.id)
        outcome = await self._service.worker.outcome(now) if now.state == "done" else None
        if outcome is None or outcome.answer is None:
            raise Stopped(now.error or "The reading was stopped: send the request again to resume it.")
        return outcome

    def _finished(self, form: ChatForm, problem: Problem, outcome: Outcome) -> tuple[str, str]:
        """Return the reply's text, cut at the client's stop texts and token limit, and its finish reason."""
        text, finish = stopped(without(problem.prefix, outcome.answer or ""), outcome.finish, form.stops)
        if form.most and not self._fits(text, form.most):
            finish = "length"
            while not self._fits(text, form.most):
                text = text[: len(text) * 9 // 10]
        return text, finish


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "memagent"}


def _line(job: Job, new: list[Change]) -> str:
    """Return one line about the latest turns of a reading."""
    progress = job.progress
    share = f"{progress.read / progress.characters:.0%}" if progress.characters else "…"
    added, removed = sum(each.added for each in new), sum(each.removed for each in new)
    return f"Read {progress.segments:,} segments, {share}: {added} words added to the memory, {removed} removed."


def _about(form: ChatForm, stored: StoredReading, outcome: Outcome) -> dict[str, Any]:
    return {
        "reading": stored.id,
        "question": stored.question,
        "segments": outcome.segments,
        "citations": [citation_of(each) for each in outcome.citations],
        "warnings": [*outcome.warnings, *form.ignored_by("the reading")],
    }
