"""Download a URL to a file on disk."""

from __future__ import annotations

from dataclasses import dataclass
from email.message import Message
from math import inf
from pathlib import Path
from urllib.parse import urlsplit

import httpx2

from memagent.documents.deadline import Deadline
from memagent.documents.public_web import PublicTransport
from memagent.documents.refusals import LARGEST, keeping, too_large
from memagent.errors import DocumentError

HEADERS = {"User-Agent": "memagent", "Connection": "close"}
TIMEOUT = 30.0
"""Seconds that a server may stay silent."""

_OTHER = "check the address and the network, or download it by other means and give its path"


@dataclass(frozen=True, slots=True)
class Page:
    """A downloaded file, and the content type and charset that the server named; "" and None if it named none."""

    path: Path
    type: str
    charset: str | None


def fetch(url: str, path: Path, *, public: bool = False, largest: int = LARGEST, seconds: float = inf) -> Page:
    """Download an http or https URL to the file `path`. Raises DocumentError.

    Args:
        public: refuse addresses that are not public, also after redirects, and ignore proxies in the environment.
        largest: bytes that the file may have.
        seconds: time that the download may take.
    """
    if not url.lower().startswith(("http://", "https://")):
        raise DocumentError(
            f"{url} cannot be fetched (only http and https are supported): download it and give its path."
        )
    try:
        shown = without_password(url)
    except ValueError as error:
        raise DocumentError(f"{url} cannot be fetched ({error}): {_OTHER}.") from error
    slow = DocumentError(f"{shown} took longer than {seconds:g} s to download: download it by other means.")
    with Deadline(seconds) as deadline:
        try:
            page = _fetch(url, shown, path, public, largest, deadline)
        except DocumentError as error:
            if deadline.passed:
                raise slow from error
            raise
        if deadline.passed:  # a body of unknown length has ended early
            raise slow
    return page


def _fetch(url: str, shown: str, path: Path, public: bool, largest: int, deadline: Deadline) -> Page:
    transport = PublicTransport() if public else None
    try:
        with (
            httpx2.Client(
                follow_redirects=True, timeout=TIMEOUT, headers=HEADERS, transport=transport, trust_env=not public
            ) as client,
            client.stream("GET", url, extensions={"trace": deadline.trace}) as response,
        ):
            response.raise_for_status()
            _store(response, path, shown, largest)
            return _page(path, response.headers.get("Content-Type"))
    except httpx2.HTTPStatusError as error:
        said = f"{error.response.status_code} {error.response.reason_phrase}".strip()
        raise DocumentError(f"{shown} cannot be fetched (the server answers {said}): check the address.") from error
    except httpx2.RemoteProtocolError as error:
        raise DocumentError(f"The download of {shown} broke off ({_first_line(error)}): try again.") from error
    # A bad URL raises InvalidURL, a bad proxy in the environment ValueError or ImportError, bad certificates OSError.
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, ImportError, OSError) as error:
        raise DocumentError(f"{shown} cannot be fetched ({_first_line(error)}): {_OTHER}.") from error


def _store(response: httpx2.Response, path: Path, label: str, largest: int) -> None:
    total = 0
    with keeping(), path.open("wb") as file:
        for block in response.iter_bytes():
            total += len(block)
            if total > largest:
                raise too_large(label, largest)
            file.write(block)


def _page(path: Path, said: str | None) -> Page:
    header = Message()
    if said is None:
        return Page(path, "", None)
    header["Content-Type"] = said
    return Page(path, header.get_content_type(), header.get_content_charset())


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0].rstrip(".") or type(error).__name__


def without_password(url: str) -> str:
    """Return the URL without user name and password, so that it can be shown and stored."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
