"""Things that tests need from outside the project: the development data beside it, and the default model."""

from __future__ import annotations

from pathlib import Path

import pytest

from memagent.models.catalogue import MODELS, find_model

DATA = Path(__file__).parents[2] / "shared" / "data"
BOOKS = DATA / "books"
DEFAULT_MODEL: None = None
"""Stands for the default model in `find_weights`."""

needs_books = pytest.mark.skipif(not BOOKS.is_dir(), reason=f"no books at {BOOKS}")
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"no data at {DATA}")
needs_default_model = pytest.mark.skipif(
    find_model(MODELS["smollm2-135m"]) is None, reason="the default model is not on this machine"
)
