"""`memagent serve` and `memagent mcp`."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import socket
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from memagent.cli import app
from memagent.cli.options import (
    AnswerTokens,
    BaseUrl,
    Debug,
    MemoryTokens,
    Model,
    QuestionTokens,
    Reader,
    SegmentTokens,
    TokenizerFile,
    Window,
    budget_of,
)
from memagent.errors import UsageError

if TYPE_CHECKING:
    from memagent.serve.server import Doors
    from memagent.serve.service import Service

Folder = Annotated[
    Path | None,
    typer.Option(help="Keep documents and readings in this folder. [default: in the user's state folder]"),
]
Roots = Annotated[
    list[Path] | None,
    typer.Option("--root", help="A folder that MCP clients may read files from; may be repeated."),
]
AllowUrls = Annotated[
    bool, typer.Option("--allow-urls", help="Let clients name documents by URL. Only public addresses are fetched.")
]
_KEYS = "MEMAGENT_SERVE_KEY"


@app.command()
def serve(
    model: Model = "local",
    base_url: BaseUrl = None,
    tokenizer: TokenizerFile = None,
    window: Window = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on. An address that other machines can reach needs keys.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for any free port.")] = 8765,
    folder: Folder = None,
    key_file: Annotated[
        Path | None, typer.Option(help=f"A file with the clients' keys, one per line. {_KEYS} may hold one more.")
    ] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="A host name that clients may use for the service; may be repeated.")
    ] = None,
    allow_origin: Annotated[
        list[str] | None, typer.Option(help="Origin of a web page that may use the service; may be repeated.")
    ] = None,
    root: Roots = None,
    allow_urls: AllowUrls = False,
    reader: Reader = None,
    read_over: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Read prompts with more tokens than this. [default: the window, or one segment if the model was "
            "trained to read]",
        ),
    ] = None,
    progress: Annotated[
        Literal["reasoning", "comments", "none"], typer.Option(help="How streams report progress while reading.")
    ] = "reasoning",
    readings: Annotated[int, typer.Option(min=1, help="Maximum readings at the same time.")] = 16,
    waiting: Annotated[int, typer.Option(min=0, help="Maximum readings that a client may have in the queue.")] = 100,
    max_megabytes: Annotated[int, typer.Option(min=1, help="Maximum size of a document in MiB.")] = 200,
    max_seconds: Annotated[
        float | None, typer.Option(min=1, help="Maximum seconds for a reading, not counting its time in the queue.")
    ] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Maximum tokens for a reading.")] = None,
    keep_days: Annotated[
        float | None,
        typer.Option(
            min=0, help="Remove readings that have ended, and documents, after this many days. [default: never]"
        ),
    ] = None,
    requests_per_minute: Annotated[
        int | None, typer.Option(min=1, help="Maximum requests per minute from one client.")
    ] = None,
    question_tokens: QuestionTokens = None,
    segment_tokens: SegmentTokens = None,
    memory_tokens: MemoryTokens = None,
    answer_tokens: AnswerTokens = None,
    timeout: Annotated[float, typer.Option(min=0.001, help="Seconds to wait for the model's server.")] = 600,
    retries: Annotated[int, typer.Option(min=0, help="Times to retry a failed request to the model's server.")] = 5,
    concurrency: Annotated[int, typer.Option(min=1, help="Simultaneous requests to the model's server.")] = 16,
    debug: Debug = False,
) -> None:
    """Serve a model that reads texts of any length, over OpenAI's protocol, MCP and a web page."""
    _check_installed()
    from memagent.cli.connecting import connect_or_fetch
    from memagent.serve.guard import Rules
    from memagent.serve.server import Doors
    from memagent.serve.service import Service
    from memagent.serve.service_limits import ServiceLimits

    keys = _keys(key_file)
    if not keys and not _is_loopback(host):
        raise UsageError(f"Other machines can reach {host}: give clients keys with --key-file, or listen on 127.0.0.1.")
    chat = connect_or_fetch(
        model, base_url=base_url, tokenizer=tokenizer, window=window, timeout=timeout, retries=retries,
        concurrency=concurrency,
    )  # fmt: skip
    budget = budget_of(chat, question_tokens, segment_tokens, memory_tokens, answer_tokens)
    limits = ServiceLimits(
        readings, waiting, max_megabytes << 20, max_seconds, max_tokens, days=keep_days, urls=allow_urls
    )
    rules = Rules(
        hosts=[*(allow_host or ()), host],
        origins=allow_origin or (),
        keys=keys,
        body_bytes=(max_megabytes << 20) * 4 // 3 + (1 << 20),  # a document in base64
        requests_per_minute=requests_per_minute,
    )
    doors = Doors(rules, read_over, progress, tuple(root or ()))
    _log(logging.INFO)
    with _listening(host, port) as listener:
        service = Service(chat, folder or _state_folder("serve"), budget=budget, reader=reader, limits=limits)
        asyncio.run(_serve(service, doors, listener))


@app.command()
def mcp(
    model: Model = "local",
    base_url: BaseUrl = None,
    tokenizer: TokenizerFile = None,
    window: Window = None,
    root: Roots = None,
    allow_urls: AllowUrls = False,
    folder: Folder = None,
    reader: Reader = None,
    debug: Debug = False,
) -> None:
    """Serve MCP over standard input and output, for a host that starts this command. `serve` offers MCP over HTTP."""
    _check_installed()
    from memagent.models.connect import connect
    from memagent.serve.service import Service
    from memagent.serve.service_limits import ServiceLimits

    chat = connect(model, base_url=base_url, tokenizer=tokenizer, window=window)  # a host would not wait for a download
    _log(logging.WARNING)
    make = partial(Service, chat, reader=reader, limits=ServiceLimits(urls=allow_urls))
    service = make(folder) if folder else _first_free(make)
    asyncio.run(_serve_stdio(service, tuple(root or ())))


async def _serve(service: Service, doors: Doors, listener: socket.socket) -> None:
    from memagent.serve.server import Server, opened

    async with opened(service, doors) as application:
        server = Server(application, service)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started and not serving.done():
            await asyncio.sleep(0.02)
        if server.started:
            host, port = listener.getsockname()[:2]
            address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
            lines = (
                f"memagent is serving {service.chat.model}. Ctrl-C stops it; unfinished readings resume at the next "
                "start.",
                f"  page      {address}/",
                f"  OpenAI    {address}/v1",
                f"  MCP       {address}/mcp",
            )
            print("\n".join(lines), flush=True)
        await serving


async def _serve_stdio(service: Service, roots: tuple[Path, ...]) -> None:
    from memagent.serve.mcp_door import mcp_server

    async with service:
        await mcp_server(service, roots).run_stdio_async()


def _check_installed() -> None:
    try:
        import fastapi  # noqa: F401
        import mcp  # noqa: F401
        import prometheus_client  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise UsageError(f"The service needs {error.name}: pip install 'memagent[serve]'.") from error


def _log(level: int) -> None:
    """Log to stderr in one format, whatever format the libraries prefer."""
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
    logging.getLogger("memagent").setLevel(level)


def _keys(file: Path | None) -> list[str]:
    """Return the clients' keys, from the file and from the environment."""
    found = [os.environ[_KEYS]] if os.environ.get(_KEYS) else []
    if file is not None:
        try:
            found += [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"The key file {file} cannot be read: {error}.") from error
        if not found:
            raise UsageError(f"There is no key in {file}: write one per line.")
    if short := [key for key in found if len(key) < 16]:
        raise UsageError(f"Every key needs at least 16 characters: make {len(short)} of the keys longer.")
    return found


def _is_loopback(host: str) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def _listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens. Raises UsageError if the address cannot be used."""
    with ExitStack() as undo:
        try:
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
            # asyncio sends without delay only if the protocol is named. Without it, each reply would wait 40 ms.
            listener = undo.enter_context(socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
            listener.listen(2048)
        except OSError as error:
            raise UsageError(
                f"The service cannot listen on {host} port {port} ({error.strerror or error}): choose another --port."
            ) from error
        undo.pop_all()
    return listener


def _state_folder(name: str) -> Path:
    from platformdirs import user_state_path

    return user_state_path("memagent") / name


def _first_free(make: Callable[[Path], Service]) -> Service:
    """Return a service in the first free folder, because several hosts may start this command at the same time."""
    from memagent.serve.shelf import FolderInUse

    number = 1
    while True:
        with suppress(FolderInUse):
            return make(_state_folder(f"mcp-{number}"))
        number += 1
