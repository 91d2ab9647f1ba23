"""The trained policies that memagent knows by name: LoRA adapters, each in a Python package of its own.

The weights have versions of their own and stay out of memagent's source tree. The sha256 tells whether an installed
package has the right ones.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from memagent.errors import ModelError
from memagent.models.adapters import WEIGHTS


@dataclass(frozen=True, slots=True)
class Policy:
    """A LoRA adapter of a model in the catalogue, with `memagent.json` beside it."""

    name: str
    """Name of the policy, of its Python package, and of its folder under `packages/`."""
    base: str
    """Catalogue name of the model that the policy adapts."""
    sha256: str
    """Hash of the policy's weights."""

    @property
    def module(self) -> str:
        return re.sub(r"[-.]", "_", self.name)


POLICIES = {
    "local": Policy(
        "memagent-qwen2.5-coder-0.5b",
        "qwen2.5-coder-0.5b",
        "528190b5f7f99393298ef753abb304e22fc118ccdd614a3af73f0a58f0e625a4",
    ),
    "tiny": Policy(
        "memagent-smollm2-135m",
        "smollm2-135m",
        "5766ab9443bad91e1aae7fb121bb961e912c401293fd553f8ee1316d9d92e20d",
    ),
}
"""The policies, by the names that `--model` takes. `local` is the default."""


def policy_folder(policy: Policy) -> Path:
    """Check the weights of an installed policy, and return its folder.

    Raises:
        ModelError: the package is not installed, or has the wrong weights.
    """
    spec = find_spec(policy.module)
    if spec is None or spec.origin is None:
        raise ModelError(
            f"The policy {policy.name} is not installed: run `pip install ./packages/{policy.name}` in a clone of "
            f"memagent, or use --model {policy.base} for the untrained model."
        )
    folder = Path(spec.origin).parent
    try:
        found = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    except OSError as error:
        raise ModelError(f"The policy in {folder} cannot be read ({error}): install {policy.name} again.") from error
    if found != policy.sha256:
        raise ModelError(
            f"The weights in {folder} are not the ones that this version of memagent expects: install {policy.name} "
            "from the same release."
        )
    return folder
