"""Describe each failure of a model server in one sentence that says what to do next."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import openai

from memagent.core.records import Request
from memagent.errors import ModelError, WindowOverflow
from memagent.models.http_replies import Draft

_LENGTH = r"(?:context|prompt|input|inputs|token|tokens|sequence|messages|window)"
_TOO_MUCH = (
    r"(?:exceed|exceeds|exceeded|exceeding|too long|too large|too many|longer than|larger than|greater than|more than"
    r"|maximum|max|limit|limits|limited|less than|fewer than|at most|overflow|overflows|not enough|reduce|reduced"
    r"|shorten|should be \[|must be <=?|out of range|range of)(?!\w)"
)
_OVERFLOWS = re.compile(
    rf"\b{_LENGTH}\b.{{0,120}}?\b{_TOO_MUCH}|\b{_TOO_MUCH}.{{0,120}}?\b{_LENGTH}\b|context_length_exceeded",
    re.IGNORECASE | re.DOTALL,
)
"""Matches how servers say that a prompt exceeds the window: a word for length close to a word for too much."""

_NO_OVERFLOWS = re.compile(
    r"\bmax_(?:completion_)?tokens['\"]? (?:is too large|must be|should be)|completion tokens|per[ _](?:minute|min|day)"
    r"|temperature|stream_options|unsupported|is not supported|quota|billing|rate limit",
    re.IGNORECASE,
)
"""Matches messages about other limits. If one also contains a word of `_WINDOW`, it counts as an overflow."""

_WINDOW = re.compile(r"context|prompt|input|inputs", re.IGNORECASE)

_FILTERED = re.compile(
    "filter|safety|recitation|blocklist|prohibited|spii|sensitive|guardrail|refus|tool|function", re.IGNORECASE
)
"""Matches finish reasons that another try would only repeat."""

_REPHRASE = "rephrase the question, or use another model"

_KEY = re.compile(r"\b((?:sk|gsk|xai|hf|pk|rk)[-_]|AIza)[\w*-]+")
"""Matches API keys by their first characters."""

_QUOTED = 300  # most characters quoted from a server's message


class BadReply(ModelError):
    """The reply cannot be used, but the next try may give a better one."""


class Failures:
    """Builds the error messages for one model on one server."""

    def __init__(self, model: str, url: str, timeout: float, key: str) -> None:
        self._model, self._url, self._timeout, self._key = model, url, timeout, key
        self._who = f"{model} at {url}"
        self.served: list[str] = []
        """Names of the models that the server lists; empty if it lists none."""

    @contextmanager
    def told(self) -> Iterator[None]:
        """Turn the client's exceptions into a ModelError."""
        try:
            yield
        except openai.APIError as error:
            raise self.explained(error) from error
        except ValueError as error:  # not JSON, or not shaped like a completion
            raise self.bad(
                "sent a reply that is not a chat completion",
                "check that --base-url points to an OpenAI-compatible server",
            ) from error

    def error(self, what: str, do: str) -> ModelError:
        return ModelError(self._sentence(what, do))

    def bad(self, what: str, do: str) -> BadReply:
        return BadReply(self._sentence(what, do))

    def _sentence(self, what: str, do: str) -> str:
        return f"{self._who} {what}: {do}, then try again."

    def dropped(self, error: openai.APIConnectionError) -> BadReply:
        """Return the error for a connection lost in the middle of a stream."""
        return BadReply(str(self.explained(error)))

    def cut(self) -> BadReply:
        return self.bad(
            "broke off its reply in the middle, and none of it is kept", "check that the server is still running"
        )

    def truncates(self, limit: int) -> ModelError:
        return self.error(
            f"reads only about {limit:,} tokens of a prompt and drops the rest without an error",
            "raise its context length (num_ctx in Ollama, the context setting of other servers), or lower "
            "--segment-tokens and --memory-tokens and give a smaller --window",
        )

    def perhaps_too_long(self, error: openai.APIStatusError) -> WindowOverflow:
        """Return the error for a long prompt that was refused without a reason."""
        return WindowOverflow(f"{self.explained(error)} The prompt may be too long: lower --segment-tokens.")

    def check(self, request: Request, draft: Draft, last: bool) -> None:
        """Refuse a reply that is not a whole text.

        Args:
            last: whether this is the last try. An empty reply is then accepted, except as an answer.

        Raises:
            BadReply: another try may help.
            ModelError: another try would not help.
        """
        if draft.refusal and not draft.text.strip():
            raise self.error(f"refused: “{draft.refusal.strip()}”", _REPHRASE)
        if not draft.cut and not draft.stopped:
            what = f'broke off its reply (finish reason "{draft.finish}")'
            if _FILTERED.search(draft.finish or ""):
                raise self.error(what, _REPHRASE)
            raise self.bad(what, "look at the server's log")
        if draft.text.strip():
            return
        if draft.cut and (draft.reasoned or not draft.text):  # OpenAI hides its reasoning
            flag = "--answer-tokens" if request.kind in ("answer", "try", "check") else "--memory-tokens"
            raise ModelError(
                f"{self._who} spent all {request.max_tokens:,} tokens on reasoning and wrote no text: "
                f"raise {flag}, or switch its reasoning off."
            )
        if draft.reasoned:
            raise self.bad("sent its reasoning and no text", "check the server's reasoning parser")
        if draft.content is None:
            raise self.bad("sent a reply without text", "check that it is a chat model")
        if not last or request.kind == "answer":
            raise self.bad("sent an empty reply", "check that it is a chat model")

    def failed(self, body: object) -> ModelError:
        """Return the error for a failure that came with status 200."""
        if _says_overflow(str(body)):
            return self._overflow(self._said(body))
        return self.bad(f"failed: “{self._said(body)}”", "look at the server's log")

    def web_page(self) -> ModelError:
        hint = "check --base-url" if self._url.endswith("/v1") else "--base-url should probably end in /v1"
        return ModelError(f"{self._url} answered with a web page instead of a reply from {self._model}: {hint}.")

    def no_server(self, error: openai.APIConnectionError) -> ModelError:
        proxy = _proxy_for(self._url)
        also = f" and the proxy in {proxy}" if proxy else ""
        return ModelError(
            f"No model server answers at {self._url} ({_cause(error)}): start the server, or check --base-url{also}."
        )

    def explained(self, error: openai.APIError) -> ModelError:
        if isinstance(error, openai.APITimeoutError):
            return self.error(
                f"sent nothing for {self._timeout:g} seconds in {_tries(error)}",
                "check whether the server is overloaded",
            )
        if isinstance(error, openai.APIConnectionError):
            return self.error(
                f"dropped the connection in {_tries(error)} ({_cause(error)})", "check that the server is still running"
            )
        if not isinstance(error, openai.APIStatusError):  # an error in the middle of a stream
            return self.failed(error.body or error.message)
        status, said = error.status_code, self._said(error.body)
        quoted = f": “{said}”" if said else ""
        if status == 413 or is_overflow(error.status_code, error.response.text):
            return self._overflow(said)
        proxy = _proxy_for(self._url)
        if status == 407 or (status in (403, 502, 503, 504) and proxy and not said):
            return ModelError(
                f"A proxy on the way to {self._url} answered with status {status} instead of {self._model}: check "
                f"{proxy or 'the proxy'}, or add the server to NO_PROXY."
            )
        if status in (401, 403):
            what = "refused the key" if status == 401 else "refused the request"
            return ModelError(
                f"{self._url} {what} for {self._model} ({status}{quoted}): check OPENAI_API_KEY"
                f"{'' if status == 401 else ' and what the account may use'}."
            )
        if status == 404 and self.served and self._model not in self.served:
            likely = difflib.get_close_matches(self._model, self.served, n=8, cutoff=0)
            more = " and others" if len(likely) < len(self.served) else ""
            return ModelError(f"{self._url} does not serve {self._model}: it serves {', '.join(likely)}{more}.")
        if status in (404, 405):
            return ModelError(
                f"{self._url} does not know this model or address ({status} for {self._model}{quoted}): check --model, "
                "and whether --base-url should end in /v1."
            )
        if status == 429:
            return self.error(
                f"had too many requests or no quota left (429) in {_tries(error)}{quoted}",
                "wait, or make fewer calls at once",
            )
        if status >= 500:
            return self.error(f"failed with status {status} in {_tries(error)}{quoted}", "look at the server's log")
        return self.error(f"refused the request ({status}{quoted})", "change the setting that it refuses")

    def _said(self, body: object) -> str:
        """Return the server's message without the key, which some servers repeat."""
        said = _message(body)
        said = said.replace(self._key, "…") if len(self._key) > 4 else said
        return _KEY.sub(r"\1…", said)

    def _overflow(self, said: str) -> WindowOverflow:
        quoted = f" (“{said}”)" if said else ""
        return WindowOverflow(f"The prompt is longer than the window of {self._who}{quoted}: lower --segment-tokens.")


def is_overflow(status: int, text: str) -> bool:
    """Whether a refusal, with this status and text, says that the prompt is longer than the window."""
    if status == 429:
        return "request too large" in text.lower()  # no wait helps if one request exceeds the tokens per minute
    return status in (400, 413, 422, 500) and _says_overflow(text)


def _says_overflow(text: str) -> bool:
    text = text[:4000]
    if not _OVERFLOWS.search(text):
        return False
    return not _NO_OVERFLOWS.search(text) or bool(_WINDOW.search(text))


def _message(body: object) -> str:
    """Return the message of a server's error on one line, shortened if it is long; "" for a web page."""
    if isinstance(body, list) and body:
        body = body[0]
    if isinstance(body, dict) and isinstance(body.get("error"), dict | str):
        body = body["error"]
    if isinstance(body, dict):
        body = body.get("message") or body.get("detail") or json.dumps(body)
    text = " ".join(str(body or "").split()).rstrip(".")
    if text.startswith("<"):
        return ""
    return text if len(text) <= _QUOTED else text[:_QUOTED] + "…"


def _tries(error: openai.APIError) -> str:
    """Return the number of tries as a phrase, taken from the header in which the client counts its retries."""
    tries = int(error.request.headers.get("x-stainless-retry-count", 0)) + 1
    return f"{tries} tries" if tries > 1 else "1 try"


def _cause(error: openai.APIConnectionError) -> str:
    """Return the transport's own message; the client only says "connection error"."""
    return str(error.__cause__ or error).rstrip(".") or type(error.__cause__).__name__


def _proxy_for(url: str) -> str:
    """Return the environment variable that names a proxy for the address; "" if there is none."""
    parts = urlsplit(url)
    if parts.hostname is None or proxy_bypass(parts.hostname):
        return ""
    names = (f"{parts.scheme}_proxy", "all_proxy")
    return next((name.upper() for name in names if getproxies().get(name.removesuffix("_proxy"))), "")
