"""RULER's prompts must not change: a single byte changes every score."""

from __future__ import annotations

from hashlib import sha256

import pytest

from memagent.tasks import templates

SUMS = {
    "CWE": "45fff5d17627b65a",
    "CWE_PREFIX": "8ee526599bbc7372",
    "FWE": "a0c7b873cf500d6c",
    "FWE_PREFIX": "9a72271c5762c96d",
    "NEEDLE": "8b1728a938426e42",
    "NIAH": "b373c00e238df12b",
    "NIAH_PREFIX": "994f3a46e763414f",
    "NOISE": "c2fcf70de6081e6f",
    "VT": "fcfaf2eab2bc3e35",
    "VT_PREFIX": "4a4e9010ec4141a3",
}


@pytest.mark.parametrize("name", SUMS)
def test_every_template_is_rulers_byte_for_byte(name: str) -> None:
    assert sha256(getattr(templates, name).encode()).hexdigest()[:16] == SUMS[name]


def test_the_singular_changes_what_ruler_changes() -> None:
    assert templates.singular(templates.NIAH).startswith("A special magic {type_needle_v} is hidden")
    assert "What is the special magic" in templates.singular(templates.NIAH)
    assert templates.singular(templates.NIAH_PREFIX).endswith("mentioned in the provided text is")
