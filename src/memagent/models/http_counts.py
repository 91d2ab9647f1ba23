"""Find out, from the token counts that a server reports, whether it read whole prompts.

Some servers silently cut a long prompt and answer from the rest (Ollama, if `num_ctx` is smaller than the prompt). The
count then stops growing with the prompt. So a count that is larger than any before is tested with a probe: the server
must report a higher count for the same prompt with more text in front of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

PROBE_SHARE = 0.25
"""Length of the text that a probe adds, as a share of the prompt."""

LEAST_BYTES = 256
"""Size of the shortest prompt that is probed: the templates alone are longer."""

_NEAR = 0.95  # share of a limit that counts as reaching it: counts vary a little with the place of the cut
_IMPLAUSIBLE = 12  # bytes per token
_FELL = 0.7  # share of the usual tokens per byte; a count below it is tested

Probe = Callable[[float], Awaitable[int | None]]
"""Function that sends a prompt again with more text in front (a share of its length); for 0, a one-word prompt.

It returns the count that the server reports; None if the server refuses the prompt or reports no count."""


class PromptCounts:
    """Conclusions from the token counts of one server so far."""

    def __init__(self) -> None:
        self.limit: int | None = None
        """Number of tokens to which the server cuts a prompt; None as long as it has not cut any."""
        self.meaningless = False
        """Whether the counts have nothing to do with the prompts."""
        self.bytes_per_token: float | None = None
        """Largest number of bytes per token in a probed prompt."""
        self._proved = 0.0  # prompts of up to this many tokens are read whole

    async def whole(self, size: int, reported: int, probe: Probe) -> bool:
        """Whether the server read all of a prompt of `size` bytes for which it reported `reported` tokens."""
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
        if more is None:  # the server refuses a prompt that is too long instead of cutting it
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
        """Whether the server reports a similar count for a one-word prompt, so that its counts mean nothing."""
        word = await probe(0)
        self.meaningless = word is not None and word >= 0.5 * reported
        return self.meaningless

    def fits(self, size: int) -> bool:
        """Whether a prompt of `size` bytes is short enough to be read whole, as far as is known."""
        if self.limit is None or self.bytes_per_token is None:
            return True
        return size / self.bytes_per_token < _NEAR * self.limit
