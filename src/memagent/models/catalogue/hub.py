"""Download a file from the Hugging Face hub, and resume an interrupted download."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

_SECONDS = 10.0  # for the hub to answer at all; its own client would wait for half a minute


def fetch_from_hub(repository: str, file: str, folder: Path, on_bytes: Callable[[int], None]) -> Path | str:
    """Download a file. Returns its path, or the reason for the failure."""
    import httpx2 as httpx
    from huggingface_hub import constants, get_session, hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    from huggingface_hub.utils.tqdm import disable_progress_bars

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    try:
        get_session().head(constants.ENDPOINT, timeout=_SECONDS)
    except (httpx.HTTPError, OSError) as error:
        return f"it cannot be reached ({error})"
    disable_progress_bars()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    done = threading.Event()
    watcher = threading.Thread(target=_watch, args=(folder, on_bytes, done), daemon=True)
    watcher.start()
    try:
        return Path(hf_hub_download(repository, file, local_dir=folder))
    except LocalEntryNotFoundError as error:
        return f"the connection was lost ({error.__cause__ or error})"
    except HfHubHTTPError as error:
        return str(error).splitlines()[0]
    finally:
        done.set()
        watcher.join()


def _watch(folder: Path, on_bytes: Callable[[int], None], done: threading.Event) -> None:
    while not done.wait(0.5):
        on_bytes(sum(file.stat().st_size for file in folder.rglob("*.incomplete")))
