"""memagent as a model of the program `llm`: llm -m memagent -f book.txt "Who is the captain?"

Fragments and attachments are the documents, and the prompt is the question. If there are none, `splitting.py` splits a
long prompt into question and document, and a short prompt goes straight to the model.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import llm
from llm.parts import StreamEvent, TextPart
from pydantic import Field

from memagent.agent import MemoryAgent
from memagent.core.records import Message, Request, Turn
from memagent.documents import Document, StoredFile, stored_documents
from memagent.errors import MemagentError
from memagent.evidence.answer import Answer
from memagent.models.connect import connect
from memagent.models.reader_defaults import ReaderDefaults
from memagent.runs.kept import run_name, runs_folder
from memagent.serve.splitting import Part, Said, fitting, split

_KINDS = {
    "application/pdf",
    "application/epub+zip",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "text/html",
    "text/markdown",
    "text/plain",
}


@llm.hookimpl
def register_models(register: Any) -> None:
    """Register the model "memagent"."""
    register(Memagent())


class Memagent(llm.Model):
    """Reads documents of any length with one of memagent's models."""

    model_id = "memagent"
    can_stream = True
    attachment_types = _KINDS

    class Options(llm.Options):
        """Options of a prompt: llm -o NAME VALUE."""

        model: str = Field("local", description="The model that reads, as for `memagent ask --model`")
        base_url: str | None = Field(None, description="The address of an OpenAI-compatible server that has the model")
        window: int | None = Field(None, ge=1, description="Context window in tokens, if the model does not report it")
        reader: str | None = Field(None, description="How to read, as for `memagent ask --reader`")

    def execute(self, prompt: Any, stream: bool, response: Any, conversation: Any) -> Iterator[str | StreamEvent]:
        """Yield progress as reasoning, then the answer."""
        asked = prompt.options
        try:
            chat = connect(asked.model, base_url=asked.base_url, window=asked.window)
            with MemoryAgent(chat, reader=asked.reader) as agent:
                yield from _replies(agent, prompt, response)
        except MemagentError as error:
            raise llm.ModelError(str(error)) from error


def _replies(agent: MemoryAgent, prompt: Any, response: Any) -> Iterator[str | StreamEvent]:
    files = [*prompt.fragments, *prompt.system_fragments, *prompt.attachments]
    conversation = _conversation(prompt, bool(files))
    with asyncio.Runner() as runner, ExitStack() as stack:
        runner.run(agent.chat.open())
        stack.callback(lambda: runner.run(agent.aclose()))
        fits = fitting(agent.chat.tokenizer)
        whole = "\n".join(said.text for said in conversation)
        trained = agent.chat.defaults != ReaderDefaults()  # to read whatever is longer than a segment
        longest = agent.budget.segment if trained else (agent.chat.window or agent.budget.segment) // 2
        if not files and fits(whole, longest):
            yield _direct(agent, prompt, runner)
            return
        problem = split(conversation, agent.budget.question, fits)
        question = problem.question
        document = stack.enter_context(_document(files, list(problem.texts), stack))
        run = runs_folder() / run_name(agent.header(question, document))
        reading = agent.stream(question, document, run=run)
        stack.callback(lambda: runner.run(reading.aclose()))
        while not isinstance(step := runner.run(anext(reading)), Answer):
            yield StreamEvent("reasoning", _line(step, document))
        response.set_usage(input=step.usage.prompt_tokens, output=step.usage.completion_tokens)
        yield step.text
        yield from (StreamEvent("reasoning", f"\nWarning: {warning}") for warning in step.warnings)


def _conversation(prompt: Any, files: bool) -> list[Said]:
    """Return the conversation so far, without fragments and attachments, which `files` says there are."""
    system = [Said("system", (Part(prompt._system),))] if prompt._system else []
    earlier = [Said(each.role, (Part(_text(each)),)) for each in prompt.messages[:-1] if each.role != "system"]
    # `prompt.prompt` would include the fragments. The file only says that there is one.
    last = Said("user", (Part(prompt._prompt or ""), *([Part(file_id="fragment")] if files else [])))
    return [*system, *earlier, last]


def _text(message: Any) -> str:
    return "".join(part.text for part in message.parts if isinstance(part, TextPart))


def _direct(agent: MemoryAgent, prompt: Any, runner: asyncio.Runner) -> str:
    """Return the model's reply to the conversation so far."""
    messages = (Message(each.role, _text(each)) for each in prompt.messages)
    request = Request(tuple(messages), agent.budget.answer, kind="direct")
    return runner.run(agent.chat.complete(request)).text


def _document(files: list[Any], texts: list[tuple[str, str]], stack: ExitStack) -> Document:
    """Open fragments (strings with a source), attachments and named texts as one document."""
    folder, stored = Path(stack.enter_context(tempfile.TemporaryDirectory())), []
    for number, each in enumerate([*files, *texts]):
        if isinstance(each, str):
            name, content, text = getattr(each, "source", "") or "fragment", each.encode(), True
        elif isinstance(each, tuple):
            name, content, text = each[0], each[1].encode(), True
        else:
            name, content, text = each.path or each.url or "attachment", each.content_bytes(), False
        path = folder / str(number)
        path.write_bytes(content)
        stored.append(StoredFile(str(name), path, text))
    return stored_documents(stored)


def _line(turn: Turn, document: Document) -> str:
    segment = turn.request.segment
    if segment:
        return f"Read {segment.end / max(document.length, 1):.0%}.\n"
    return "Wrote the answer.\n" if turn.request.kind == "answer" else "Worked on the memory.\n"
