"""An address on the web -> a file on disk."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from memagent.documents.problems import copy
from memagent.errors import DocumentError

TIMEOUT = 30.0
"""Seconds a server may stay silent."""

_HANDLERS = (  # those of urllib but for ftp: and file:, so that no redirect leads there
    urllib.request.ProxyHandler,
    urllib.request.HTTPHandler,
    urllib.request.HTTPSHandler,
    urllib.request.HTTPRedirectHandler,
    urllib.request.HTTPErrorProcessor,
    urllib.request.HTTPDefaultErrorHandler,
    urllib.request.UnknownHandler,
)
_SAFE = "%/:=&?~+!$,;'@()*[]#"  # what an address may hold unquoted


@dataclass(frozen=True, slots=True)
class Page:
    """What a server sent, in a file, and what it says that is: "" and None where it does not say."""

    path: Path
    type: str
    charset: str | None


def fetch(url: str, path: Path) -> Page:
    """Stream what an http or https address answers to `path`. Raises DocumentError."""
    if not url.lower().startswith(("http://", "https://")):
        raise DocumentError(f"{url} cannot be fetched: only http and https are spoken; download it and give its path.")
    opener = urllib.request.OpenerDirector()
    for handler in _HANDLERS:
        opener.add_handler(handler())
    opener.addheaders = [("User-Agent", "memagent")]
    try:
        address, password = _quoted(url)
        # Not sent on to where a server redirects.
        request = urllib.request.Request(address)
        if password:
            request.add_unredirected_header("Authorization", password)
        url = without_password(url)
        with opener.open(request, timeout=TIMEOUT) as response, path.open("wb") as file:
            copy(response, file, url)
            size, headers = file.tell(), response.headers
    except urllib.error.HTTPError as error:
        error.close()
        raise DocumentError(
            f"{url} cannot be fetched (the server answers {error.code} {_first_line(error.reason)}): check the address."
        ) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise DocumentError(
            f"{url} cannot be fetched ({reason}): check the address and the network, "
            "or download it by other means and give its path."
        ) from error
    expected = headers.get("Content-Length", str(size))  # urllib does not mind when fewer bytes come
    if expected.isdecimal() and int(expected) != size:
        raise DocumentError(f"{url} broke off after {size} of {expected} bytes: try again.")
    kind = headers.get_content_type() if "Content-Type" in headers else ""
    return Page(path, kind, headers.get_content_charset())


def _first_line(reason: object) -> str:
    return str(reason).split("\n")[0].rstrip(".")


def without_password(url: str) -> str:
    """The address as it may be shown and kept."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _quoted(url: str) -> tuple[str, str]:
    """The address as it goes over the wire, and the header for the user and the password in it."""
    parts = urlsplit(without_password(url))
    user, password = urlsplit(url).username, urlsplit(url).password
    named = f"{unquote(user)}:{unquote(password or '')}" if user else ""
    header = f"Basic {b64encode(named.encode()).decode()}" if named else ""
    return parts._replace(path=quote(parts.path, _SAFE), query=quote(parts.query, _SAFE), fragment="").geturl(), header
