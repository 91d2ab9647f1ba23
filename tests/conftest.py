from __future__ import annotations

import gzip

import pytest
from data import BOOKS


@pytest.fixture(scope="session")
def books() -> dict[str, str]:
    """Return the real books by name."""
    return {
        path.name.removesuffix(".txt.gz"): gzip.decompress(path.read_bytes()).decode() for path in BOOKS.glob("*.gz")
    }
