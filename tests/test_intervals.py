from __future__ import annotations

import random

import numpy as np
import pytest

from memagent.intervals import bootstrap, interval, paired, wilson


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        # Newcombe, Statistics in Medicine 17 (1998), 857-872, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_the_published_intervals(successes: int, n: int, low: float, high: float) -> None:
    assert wilson(successes, n) == pytest.approx((low, high), abs=5e-5)
    assert wilson(n - successes, n) == pytest.approx((1 - high, 1 - low), abs=5e-5)


def test_wilson_keeps_to_0_and_1() -> None:
    assert wilson(0, 0) == (0, 1)
    for n in (1, 3, 7, 128, 500):
        assert wilson(0, n)[0] == 0
        assert wilson(n, n)[1] == 1


def test_the_bootstrap_of_a_large_sample_is_the_normal_interval() -> None:
    values = np.random.default_rng(3).uniform(size=1000)
    error = values.std() / np.sqrt(1000)
    low, high = bootstrap(values.tolist())
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.1 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.1 * error)


def test_the_bootstrap_depends_on_values_and_seed_alone() -> None:
    values = [random.Random(5).choice([0, 0.25, 0.5, 1]) + 0.001 * number for number in range(200)]
    again = random.Random(6).sample(values, len(values))
    assert bootstrap(values) == bootstrap(again)
    assert bootstrap(values, seed=1) != bootstrap(values)
    assert bootstrap(values, resamples=100) != bootstrap(values)


def test_the_interval_of_a_proportion_is_wilsons_whatever_the_metric() -> None:
    assert interval([1.0, 0.0, 1.0, 1.0], binary=True) == (0.75, *wilson(3, 4))
    assert interval([1.0, 0.0, 1.0, 1.0], binary=False) == (0.75, *wilson(3, 4))
    assert interval([1.0], binary=False) == (1, *wilson(1, 1))
    with pytest.raises(ValueError, match="neither 0 nor 1"):
        interval([1.0, 0.5], binary=True)


def test_the_interval_of_fractions_is_bootstrapped() -> None:
    values = [0.25, 0.5, 0.75, 1.0, 1.0]
    assert interval(values, binary=False) == (0.7, *bootstrap(values))


def test_equal_values_do_not_make_certain() -> None:
    assert interval([0.5], binary=False) == pytest.approx((0.5, 0.5 - 0.5 * 0.7935, 0.5 + 0.5 * 0.7935), abs=1e-4)
    mean, low, high = interval([0.5] * 100, binary=False)
    assert mean == 0.5
    assert 0.47 < low < 0.49
    assert 0.51 < high < 0.53
    assert interval([1 / 3 - 1e-12, 1 / 3], binary=False)[2] > 0.6


def test_of_no_values_nothing_is_known() -> None:
    assert interval([], binary=True) == interval([], binary=False) == (0, 0, 1)
    assert paired([]) == (0, -1, 1)


def test_paired_differences() -> None:
    differences = [1.0] * 30 + [-1.0] * 10 + [0.0] * 60
    mean, low, high = paired(differences)
    error = np.std(differences) / 10
    assert mean == 0.2
    assert (low, high) == pytest.approx((0.2 - 1.96 * error, 0.2 + 1.96 * error), abs=0.02)
    assert paired(differences, seed=1) != paired(differences)


def test_paired_differences_that_are_all_the_same() -> None:
    unseen = wilson(0, 20)[1]
    assert paired([0.0] * 20) == pytest.approx((0, -unseen, unseen))
    assert paired([1.0] * 20) == pytest.approx((1, 1 - 2 * unseen, 1))
    assert paired([-1.0]) == pytest.approx((-1, -1, -1 + 2 * wilson(0, 1)[1]))


@pytest.mark.parametrize("rate", [0.02, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("n", [5, 20, 128])
def test_wilson_covers_the_rate_in_about_95_of_100_samples(n: int, rate: float) -> None:
    drawn = np.random.default_rng(7).binomial(n, rate, size=4000)
    intervals = {count: wilson(count, n) for count in set(drawn.tolist())}
    covered = np.mean([intervals[count][0] <= rate <= intervals[count][1] for count in drawn.tolist()])
    assert 0.9 < covered < 0.995


@pytest.mark.parametrize(("n", "rate"), [(20, 0.5), (20, 0.95), (128, 0.8)])
def test_the_bootstrap_covers_the_mean_of_fractions_in_about_95_of_100_samples(n: int, rate: float) -> None:
    samples = np.random.default_rng(8).binomial(4, rate, size=(400, n)) / 4
    intervals = [interval(sample, binary=False) for sample in samples.tolist()]
    covered = np.mean([low <= rate <= high for _, low, high in intervals])
    assert 0.9 < covered < 0.995


@pytest.mark.parametrize("n", [20, 128])
def test_paired_intervals_cover_the_difference_in_about_95_of_100_samples(n: int) -> None:
    samples = np.random.default_rng(9).choice([1.0, -1.0, 0.0], p=[0.2, 0.1, 0.7], size=(400, n))
    covered = np.mean([low <= 0.1 + 1e-9 and high >= 0.1 - 1e-9 for _, low, high in map(paired, samples.tolist())])
    assert 0.9 < covered < 0.995
