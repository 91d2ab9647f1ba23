"""The failures of a model server, each told in one sentence that says what to do next."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager

import openai

from memagent.errors import ModelError, WindowOverflow

_OVERFLOWS = re.compile(
    r"(exceed|longer than|maximum)[\w' ]{0,20}context|context[ _](length|size|window)[ _]exceed|too many tokens"
    r"|(prompt|input) is too long|input token count|`inputs` tokens|maximum prompt length",
    re.IGNORECASE,
)
"""How servers say that a prompt is longer than the window."""

_QUOTED = 300  # characters of what a server says


class Failures:
    """Tells of one model on one server."""

    def __init__(self, model: str, url: str, timeout: float) -> None:
        self._model, self._url, self._timeout = model, url, timeout
        self._who = f"{model} at {url}"
        self.served: list[str] = []
        """The models that the server says it has; empty when it does not say."""

    @contextmanager
    def told(self) -> Iterator[None]:
        """Turns what the client raises into a ModelError."""
        try:
            yield
        except openai.APIError as error:
            raise self.explained(error) from error
        except ValueError as error:  # not JSON, or not what a completion looks like
            raise self.error(
                "sent a reply that is no chat completion", "see that --base-url leads to an OpenAI-compatible server"
            ) from error

    def error(self, what: str, do: str) -> ModelError:
        return ModelError(f"{self._who} {what}: {do}, then run the same command again to go on.")

    def cut(self) -> ModelError:
        return self.error("broke off its reply in the middle, and none of it is kept", "see that the server still runs")

    def failed(self, body: object) -> ModelError:
        """For an error that came with status 200."""
        if _OVERFLOWS.search(str(body)):
            return self._overflow(_message(body))
        return self.error(f"failed: “{_message(body)}”", "look at the server's log")

    def web_page(self) -> ModelError:
        hint = "check --base-url" if self._url.endswith("/v1") else "--base-url should probably end in /v1"
        return ModelError(f"{self._url} answers with a web page where {self._model} was asked: {hint}.")

    def no_server(self, error: openai.APIConnectionError) -> ModelError:
        return ModelError(
            f"No model server answers at {self._url} ({_cause(error)}): start the server, or check --base-url."
        )

    def explained(self, error: openai.APIError) -> ModelError:
        if isinstance(error, openai.APITimeoutError):
            return self.error(
                f"sent nothing for {self._timeout:g} seconds in {_tries(error)}", "see whether the server is overloaded"
            )
        if isinstance(error, openai.APIConnectionError):
            return self.error(
                f"dropped the connection in {_tries(error)} ({_cause(error)})", "see that the server still runs"
            )
        if not isinstance(error, openai.APIStatusError):  # an error in the middle of a stream
            return self.failed(error.body or error.message)
        status, said = error.status_code, _message(error.body)
        if status == 413 or is_overflow(error):
            return self._overflow(said)
        if status in (401, 403):
            return ModelError(f"{self._url} refused the key for {self._model} ({status}): check OPENAI_API_KEY.")
        if status == 404 and self.served and self._model not in self.served:
            likely = difflib.get_close_matches(self._model, self.served, n=8, cutoff=0)
            more = " and others" if len(likely) < len(self.served) else ""
            return ModelError(f"{self._url} does not serve {self._model}: it serves {', '.join(likely)}{more}.")
        quoted = f": “{said}”" if said else ""
        if status in (404, 405):
            return ModelError(
                f"{self._url} knows no such model or address ({status} for {self._model}{quoted}): check --model, and "
                "that --base-url ends in /v1 where the server wants that."
            )
        if status == 429:
            return self.error(
                f"had too many requests or no quota left (429) in {_tries(error)}{quoted}",
                "wait, or make fewer calls at once",
            )
        if status >= 500:
            return self.error(f"failed with status {status} in {_tries(error)}{quoted}", "look at the server's log")
        return self.error(f"refused the request ({status}{quoted})", "change what it refuses")

    def _overflow(self, said: str) -> WindowOverflow:
        quoted = f" (“{said}”)" if said else ""
        return WindowOverflow(f"The prompt is longer than the window of {self._who}{quoted}: lower --segment-tokens.")


def is_overflow(error: openai.APIStatusError) -> bool:
    return error.status_code in (400, 422, 500) and bool(_OVERFLOWS.search(error.response.text))


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
