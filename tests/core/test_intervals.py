from __future__ import annotations

import random

import numpy as np
import pytest

from memagent.core.intervals import bootstrap, interval, paired, wilson


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
    assert interval(values, binary=False) == (0.7, *bootstrap([*values, 0.0, 1.0]))


def test_a_few_values_do_not_make_certain() -> None:
    mean, low, high = interval([0.5], binary=False)
    assert (mean, low, high) == (0.5, 0.0, 1.0)
    mean, low, high = interval([0.5] * 100, binary=False)
    assert mean == 0.5
    assert 0.47 < low < 0.49
    assert 0.51 < high < 0.53
    mean, low, high = interval([1.0, 1.0, 1.0, 1.0, 0.8], binary=False)  # about as wide as Wilson's for five of 1
    assert low == pytest.approx(wilson(5, 5)[0], abs=0.07)
    assert high == 1


def test_of_no_values_nothing_is_known() -> None:
    assert interval([], binary=True) == interval([], binary=False) == (0, 0, 1)
    assert paired([]) == (0, -1, 1)


def test_paired_differences() -> None:
    differences = [1.0] * 30 + [-1.0] * 10 + [0.0] * 60
    mean, low, high = paired(differences)
    error = np.std(differences) / 10
    assert mean == 0.2
    assert (low, high) == pytest.approx((0.2 - 1.96 * error, 0.2 + 1.96 * error), abs=0.02)
    uneven = np.random.default_rng(1).uniform(-1, 1, size=50).tolist()
    assert paired(uneven, seed=1) != paired(uneven)


def test_paired_differences_that_are_all_the_same() -> None:
    mean, low, high = paired([0.0] * 20)
    assert mean == 0
    assert (low, high) == pytest.approx((-0.14, 0.14), abs=0.05)
    assert paired([1.0] * 20)[2] == 1
    assert paired([1.0, 0.5])[1] < 0  # two examples are too few to decide


@pytest.mark.parametrize("rate", [0.02, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("n", [5, 20, 128])
def test_wilson_covers_the_rate_in_about_95_of_100_samples(n: int, rate: float) -> None:
    drawn = np.random.default_rng(7).binomial(n, rate, size=4000)
    intervals = {count: wilson(count, n) for count in set(drawn.tolist())}
    covered = np.mean([intervals[count][0] <= rate <= intervals[count][1] for count in drawn.tolist()])
    assert 0.9 < covered < 0.995


KINDS = {
    "nearly all right": ([1.0, 0.8, 0.0], [0.85, 0.1, 0.05]),
    "nearly all wrong": ([0.0, 0.2, 0.4], [0.85, 0.1, 0.05]),
    "even": ([0.0, 0.25, 0.5, 0.75, 1.0], [0.2] * 5),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [5, 10, 20, 128])
def test_the_interval_of_fractions_covers_their_mean_in_95_of_100_samples(n: int, kind: str) -> None:
    values, chances = KINDS[kind]
    samples = np.random.default_rng(8).choice(values, p=chances, size=(400, n))
    true = float(np.dot(values, chances))
    intervals = [interval(sample, binary=False) for sample in samples.tolist()]
    assert np.mean([low <= true <= high for _, low, high in intervals]) > 0.93


@pytest.mark.slow
@pytest.mark.parametrize("chances", [[0.2, 0.1, 0.7], [0.05, 0.0, 0.95]])
@pytest.mark.parametrize("n", [5, 20, 128])
def test_paired_intervals_cover_the_difference_in_95_of_100_samples(n: int, chances: list[float]) -> None:
    samples = np.random.default_rng(9).choice([1.0, -1.0, 0.0], p=chances, size=(400, n))
    true = chances[0] - chances[1]
    covered = np.mean([low <= true + 1e-9 and high >= true - 1e-9 for _, low, high in map(paired, samples.tolist())])
    assert covered > 0.93
