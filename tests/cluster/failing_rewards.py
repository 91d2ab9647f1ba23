"""Rewards that raise errors, in every process of verl that loads this module."""

from __future__ import annotations

from collections.abc import Sequence

from memagent.core.scoring import METRICS


def _fails(prediction: str, answers: Sequence[str]) -> float:
    raise RuntimeError("The reward fails.")


def _fails_now_and_then(prediction: str, answers: Sequence[str]) -> float:
    if len(prediction) % 2 == 0:
        raise RuntimeError("The reward fails now and then.")
    return METRICS["f1"](prediction, answers)


METRICS |= {"fails": _fails, "fails_now_and_then": _fails_now_and_then}
