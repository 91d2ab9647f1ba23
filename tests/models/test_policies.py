"""A policy comes from a package of its own, and only with the weights that this version expects."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from memagent.errors import ModelError
from memagent.models.catalogue.policies import POLICIES, Policy, policy_folder

TINY = POLICIES["tiny"]
PACKAGES = Path(__file__).parents[2] / "packages"


@pytest.mark.parametrize("policy", POLICIES.values(), ids=list(POLICIES))
def test_the_installed_policy_is_the_one_in_the_repository(policy: Policy) -> None:
    folder = policy_folder(policy)
    assert folder.resolve() == (PACKAGES / policy.name / policy.module).resolve()
    assert (folder / "memagent.json").is_file()


def test_a_package_that_is_not_installed_is_said_with_the_command_that_installs_it() -> None:
    with pytest.raises(
        ModelError, match=r"no-such-policy is not installed: run `pip install ./packages/no-such-policy`"
    ):
        policy_folder(replace(TINY, name="no-such-policy"))


def test_other_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(policy_folder(TINY), tmp_path / "other_policy")
    monkeypatch.syspath_prepend(str(tmp_path))
    other = replace(TINY, name="other-policy")
    assert policy_folder(other) == tmp_path / "other_policy"
    weights = tmp_path / "other_policy" / "adapter_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ModelError, match="are not the ones that this version of memagent expects"):
        policy_folder(other)
    weights.unlink()
    with pytest.raises(ModelError, match="cannot be read"):
        policy_folder(other)
