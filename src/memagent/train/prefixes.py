"""Shared prefixes of prompts, which the sampler and the trainer compute once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

_SHARED = 0.5  # smallest share of a prompt that is worth computing separately
_WORTH = 64  # smallest number of tokens that is worth it


def alike(prompts: Sequence[Sequence[int]]) -> Iterator[tuple[int, int, int]]:
    """Cut sorted prompts into runs that share most of their tokens. Yields start, end and number of shared tokens.

    The last token of a prompt is never shared. A run of one prompt shares 0.
    """
    start = shared = 0
    for place, prompt in enumerate(prompts):
        if place > start:
            common = min(shared, _common(prompts[start], prompt))
            if common >= max(_WORTH, _SHARED * len(prompt)):
                shared = common
                continue
            yield start, place, shared if place > start + 1 else 0
        start, shared = place, len(prompt) - 1
    if prompts:
        yield start, len(prompts), shared if len(prompts) > start + 1 else 0


def shares(prompts: Iterable[Sequence[int]]) -> dict[tuple[int, ...], int]:
    """Number of tokens that each prompt shares with others. Identical prompts count as one."""
    ordered = sorted(set(map(tuple, prompts)))
    return {prompt: shared for start, end, shared in alike(ordered) for prompt in ordered[start:end]}


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """Length of the common prefix, which never includes the last token of either."""
    most = min(len(one), len(other)) - 1
    return next((place for place in range(most) if one[place] != other[place]), most)
