"""Things that tests need from outside the project: the development data beside it, and the smallest model."""

from __future__ import annotations

from pathlib import Path

import pytest

from memagent.models.catalogue import MODELS, find_model
from memagent.models.catalogue.policies import POLICIES

DATA = Path(__file__).parents[2] / "shared" / "data"
BOOKS = DATA / "books"
SMOLLM2 = "smollm2-135m"
"""The smallest model of the catalogue."""

needs_books = pytest.mark.skipif(not BOOKS.is_dir(), reason=f"no books at {BOOKS}")
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"no data at {DATA}")
needs_smollm2 = pytest.mark.skipif(find_model(MODELS[SMOLLM2]) is None, reason=f"{SMOLLM2} is not on this machine")
needs_default_model = pytest.mark.skipif(
    find_model(MODELS[POLICIES["local"].base]) is None, reason="the default model is not on this machine"
)
