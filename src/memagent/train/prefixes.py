"""Which prompts begin alike: what they share is computed once, by the sampler as by the trainer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

_SHARED = 0.5  # of a prompt, at least: what is worth being computed apart from the rest
_WORTH = 64  # tokens, too


def alike(prompts: Sequence[Sequence[int]]) -> Iterator[tuple[int, int, int]]:
    """Cut sorted prompts into runs that share most of their tokens: from, to, and how many tokens they share.

    The last token of a prompt is never shared. A prompt on its own shares 0.
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
    """How many tokens of each prompt others share; the same prompt twice is one."""
    ordered = sorted(set(map(tuple, prompts)))
    return {prompt: shared for start, end, shared in alike(ordered) for prompt in ordered[start:end]}


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens both begin with; the last of each is not counted."""
    most = min(len(one), len(other)) - 1
    return next((place for place in range(most) if one[place] != other[place]), most)
