"""95 % intervals of mean scores, and of the mean difference between two runs on the same examples."""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum, sqrt
from statistics import NormalDist

import numpy as np

Interval = tuple[float, float]
Estimate = tuple[float, float, float]
"""Mean, low end and high end of its interval."""

_Z = NormalDist().inv_cdf(0.975)
_AT_ONCE = 1_000_000  # numbers drawn at a time: 8 MB


def wilson(successes: int, n: int) -> Interval:
    """Return Wilson's score interval of a proportion; (0, 1) if n = 0.

    Unlike the usual mean ± 1.96 standard errors, it also holds for few examples and near 0 and 1.
    Source: Wilson, Journal of the American Statistical Association 22 (1927), 209-212; recommended by Brown, Cai and
    DasGupta, Statistical Science 16 (2001), 101-133.
    """
    if n == 0:
        return 0.0, 1.0
    centre = (successes + _Z**2 / 2) / (n + _Z**2)
    half = _Z / (n + _Z**2) * sqrt(successes * (n - successes) / n + _Z**2 / 4)
    return (0.0 if successes == 0 else centre - half), (1.0 if successes == n else centre + half)


def bootstrap(values: Sequence[float], seed: int = 0, resamples: int = 10_000) -> Interval:
    """Return the percentile interval of the mean of one or more values. Their order does not matter.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
    """
    distinct_K, counts_K = np.unique(np.asarray(values, dtype=float), return_counts=True)
    n, kinds = len(values), len(distinct_K)
    generator = np.random.default_rng(seed)
    means = []
    # Draw how often each distinct value occurs. Scores have few distinct values, so this is far cheaper than n draws.
    for start in range(0, resamples, step := max(1, _AT_ONCE // kinds)):
        drawn_RK = generator.multinomial(n, counts_K / n, size=min(step, resamples - start))
        means.append(drawn_RK @ distinct_K / n)
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975])
    return float(low), float(high)


def interval(values: Sequence[float], binary: bool) -> Estimate:
    """Return the mean of scores from 0 to 1 with its interval: Wilson's if each score is 0 or 1, else a bootstrap.

    Scores of a fractional metric that all happen to be 0 or 1 count as a proportion too, because no other scores with
    the same mean vary more. Without any values, return (0, 0, 1).

    Raises:
        ValueError: `binary` is set, and a score is neither 0 nor 1.
    """
    if all(value in (0, 1) for value in values):
        successes = round(fsum(values))
        return (successes / len(values) if values else 0.0), *wilson(successes, len(values))
    if binary:
        raise ValueError("A score of a binary metric is neither 0 nor 1.")
    return _bounded(values, least=0.0, seed=0)


def paired(differences: Sequence[float], seed: int = 0) -> Estimate:
    """Return the mean of differences from -1 to 1, one per example, with its bootstrap interval; (0, -1, 1) if none.

    Resampling examples keeps both scores of an example together, so its difficulty for both runs cancels out.
    Source: Koehn, Statistical Significance Tests for Machine Translation Evaluation, EMNLP 2004.
    """
    return _bounded(differences, least=-1.0, seed=seed)


def _bounded(values: Sequence[float], least: float, seed: int) -> Estimate:
    """Return the mean of values from `least` to 1, and a bootstrap of them plus one value at each end of the scale.

    A plain bootstrap knows only the values that were seen. If nine of ten scores are 1, its interval is too narrow and
    holds the true mean in far fewer than 95 of 100 cases (the tests count this). The two added values stand for scores
    that a few examples might not show; among a hundred values they no longer matter.
    """
    if not values:
        return 0.0, least, 1.0
    mean = fsum(values) / len(values)
    low, high = bootstrap([*values, least, 1.0], seed)
    return mean, min(low, mean), max(high, mean)
