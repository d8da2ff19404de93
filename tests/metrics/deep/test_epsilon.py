"""The lower bound on epsilon: arithmetic by hand, a mechanism whose epsilon is known, and its level."""

from __future__ import annotations

from math import exp, log, sqrt

import numpy as np
import pytest
from scipy.stats import binomtest

from support.planted_halves import planted
from unregress.metrics.deep.epsilon import Guesses, guesses, lower_limit
from unregress.metrics.deep.lira import halves, paired, signals


def test_by_hand() -> None:
    """Ten of ten right: their chance is 0.05^(1/10) = 0.741 or more, with odds of 2.863, of which ε is half the log."""
    chance = 0.05**0.1
    assert Guesses(10, 10).epsilon == pytest.approx(log(chance / (1 - chance)) / 2)
    assert Guesses(10, 10).p == pytest.approx(2**-10)
    assert (Guesses(0, 0).epsilon, Guesses(0, 5).epsilon, Guesses(5, 10).epsilon) == (0, 0, 0)
    assert Guesses(0, 0).p == 1


@pytest.mark.parametrize(("right", "made"), [(1, 1), (7, 9), (60, 61), (3, 40)])
def test_the_limit_is_the_exact_one(right: int, made: int) -> None:
    expected = binomtest(right, made, alternative="greater").proportion_ci(0.95, "exact").low
    assert lower_limit(right, made) == pytest.approx(expected)


def randomised_response(rng: np.random.Generator, epsilon: float, samples: int = 400, models: int = 16) -> Guesses:
    """Models of which each sample's output tells whether it was there, true with odds of e^ε: they are (ε, 0)."""
    has = halves(samples, np.arange(samples), models, rng)
    told = np.where(rng.random(has.shape) < exp(epsilon) / (1 + exp(epsilon)), has, ~has)
    return guesses(*paired(told[:, :, None].astype(float), has), has[0::2], rng)


@pytest.mark.slow
@pytest.mark.parametrize("epsilon", [0.5, 1.0, 2.0])
def test_the_bound_of_a_known_epsilon_is_below_it_nineteen_times_in_twenty(epsilon: float) -> None:
    rng, runs = np.random.default_rng(0), 200
    bounds = np.array([randomised_response(rng, epsilon).epsilon for _ in range(runs)])
    assert (bounds > epsilon).mean() <= 0.05 + 3 * sqrt(0.05 * 0.95 / runs)
    # Not by being 0: of guesses about couples that disagree, odds are e^(2ε).
    assert np.median(bounds) > 0.3 * epsilon


@pytest.mark.parametrize("samples", [20, 41])
def test_models_without_a_trace_have_none_nineteen_times_in_twenty(samples: int) -> None:
    rng, runs = np.random.default_rng(1), 300
    found = []
    for _ in range(runs):
        residual, has = planted(rng, samples=samples, memory=0.0, models=16)
        found.append(guesses(*paired(signals(residual), has), has[0::2], rng))
    error = sqrt(0.05 * 0.95 / runs)
    assert np.mean([each.epsilon > 0 for each in found]) <= 0.05 + 3 * error
    assert np.mean([each.p <= 0.05 for each in found]) <= 0.05 + 3 * error


def test_originals_that_remember_are_caught() -> None:
    rng = np.random.default_rng(2)
    for _ in range(10):
        residual, has = planted(rng, samples=60, memory=0.9, models=16, share=1.0)
        found = guesses(*paired(signals(residual), has), has[0::2], rng)
        assert found.epsilon > 0.7 and found.p < 1e-6


def test_few_of_many_are_caught_by_silence_about_the_others() -> None:
    """A tenth remembered: guesses about all couples are near one half, so that only the surest are made."""
    rng = np.random.default_rng(3)
    found = []
    for _ in range(10):
        residual, has = planted(rng, samples=200, memory=0.95, models=16)
        found.append(guesses(*paired(signals(residual), has), has[0::2], rng))
    assert np.mean([each.epsilon > 0 for each in found]) >= 0.8
    assert np.mean([each.made for each in found]) < 200  # of 4 pairs with 100 couples each


def test_the_same_seed_gives_the_same_guesses() -> None:
    residual, has = planted(np.random.default_rng(4), samples=30, memory=0.5, models=12)
    sides = paired(signals(residual), has)
    first, again = (guesses(*sides, has[0::2], np.random.default_rng(7)) for _ in range(2))
    assert first == again
