"""Find out, from the token counts that a server reports, whether it read whole prompts.

Some servers (Ollama, where `num_ctx` is smaller than the prompt) cut a long prompt without a word and answer from the
rest. Their count then stops growing with the prompt. So a count that is larger than any before is put to the test: the
same prompt with more text in front of it must be counted as longer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

PROBE_SHARE = 0.25
"""Length of the text that a probe adds, as a share of the prompt."""

LEAST_BYTES = 256
"""Shorter prompts are not probed: the templates alone are longer."""

_NEAR = 0.95  # of a limit: cutting between characters or words makes counts vary a little
_IMPLAUSIBLE = 12  # bytes a token
_FELL = 0.7  # of the usual tokens a byte: fewer are put to the test

Probe = Callable[[float], Awaitable[int | None]]
"""Send a prompt again with so much more text in front (a share of it), or, for 0, a prompt of one word.

Returns the count that the server reports; None where it refuses the prompt or reports none."""


class PromptCounts:
    """What the counts of one server have shown so far."""

    def __init__(self) -> None:
        self.limit: int | None = None
        """Tokens to which the server cuts a prompt; None while it has cut none."""
        self.meaningless = False
        """Whether the counts have nothing to do with the prompts."""
        self.bytes_per_token: float | None = None
        """The most that a probed prompt had."""
        self._proved = 0.0  # prompts with fewer tokens than this are read whole

    async def whole(self, size: int, reported: int, probe: Probe) -> bool:
        """Whether the server read the whole of a prompt of `size` bytes for which it reported so many tokens."""
        if self.meaningless:
            return True
        if self.limit is not None and reported >= _NEAR * self.limit:
            return False
        fell = self.bytes_per_token is not None and reported * self.bytes_per_token < _FELL * size
        if size < LEAST_BYTES or (reported <= self._proved and not fell):
            return True
        if size > _IMPLAUSIBLE * reported and await self._counts_nothing(reported, probe):
            return True
        more = await probe(PROBE_SHARE)
        if more is None:  # it refuses what is too long, instead of cutting it
            self._proved = float("inf")
            return True
        if more - reported >= 0.5 * PROBE_SHARE * reported:
            self._proved = max(self._proved, _NEAR * more)
            self.bytes_per_token = max(self.bytes_per_token or 0, size * (1 + PROBE_SHARE) / more)
            return True
        if await self._counts_nothing(reported, probe):
            return True
        self.limit = min(self.limit or reported, reported)
        return False

    async def _counts_nothing(self, reported: int, probe: Probe) -> bool:
        """Whether a prompt of one word gets such a count, too."""
        word = await probe(0)
        self.meaningless = word is not None and word >= 0.5 * reported
        return self.meaningless

    def fits(self, size: int) -> bool:
        """Whether a prompt of `size` bytes is short enough, as far as is known."""
        if self.limit is None or self.bytes_per_token is None:
            return True
        return size / self.bytes_per_token < _NEAR * self.limit
