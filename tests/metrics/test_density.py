"""Densities for the figures: total mass, mirroring at zero, and none where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import gaussian_kde

from support.hand_panels import panel, seen
from unregress.metrics.density import density, pooled
from unregress.metrics.predictions import Values


def mass(values: Values, grid: Values, *, at_least_zero: bool) -> float:
    return float(np.trapezoid(density(values, grid, at_least_zero=at_least_zero), grid))


def test_mass_is_one_and_mirroring_keeps_it_above_zero() -> None:
    rng = np.random.default_rng(0)
    distances = np.abs(rng.normal(size=400))
    above, everywhere = np.linspace(0, 8, 2001), np.linspace(-8, 8, 4001)
    assert mass(distances, everywhere, at_least_zero=False) == pytest.approx(1, abs=1e-3)
    assert mass(distances, above, at_least_zero=True) == pytest.approx(1, abs=1e-3)
    # What the mirror repairs: without it, mass is lost just where distances are small.
    assert mass(distances, above, at_least_zero=False) < 0.95


def test_without_mirror_it_is_scipys_estimate() -> None:
    values = np.random.default_rng(1).normal(size=30)
    grid = np.linspace(-3, 3, 11)
    assert density(values, grid) == pytest.approx(tuple(gaussian_kde(values)(grid)))


@pytest.mark.parametrize("shape", ["normal", "long tails"])
def test_a_large_sample_is_thinned_and_keeps_its_bandwidth(shape: str) -> None:
    rng = np.random.default_rng(4)
    values = rng.normal(size=30_000) if shape == "normal" else rng.lognormal(sigma=1.5, size=30_000)
    grid = np.linspace(-3, 3, 13)
    assert density(values, grid) == pytest.approx(tuple(gaussian_kde(values)(grid)), abs=1e-3)


def test_one_value_that_differs_is_not_thinned_away() -> None:
    values = np.zeros(5002)
    values[-1] = 1
    assert density(values, np.array([0.0]))[0] > 1


def test_change_of_units_divides_the_density() -> None:
    values = np.random.default_rng(2).gamma(2.0, size=50)
    grid = np.linspace(0, 9, 20)
    metres, millimetres = (density(s * values, s * grid, at_least_zero=True) for s in (1.0, 1000.0))
    assert np.array(millimetres) * 1000 == pytest.approx(metres)


@pytest.mark.parametrize(
    "values",
    [[], [1.0], [0.0, 0.0, 0.0], [50.0, 50.0 + 1e-13], [1e9, 1e9]],
    ids=["none", "one", "zeros", "close", "large"],
)
def test_empty_for_degenerate_samples(values: list[float]) -> None:
    assert density(np.array(values), np.linspace(0, 1, 5), at_least_zero=True) == ()


def test_two_values_suffice() -> None:
    assert len(density(np.array([1.0, 2.0]), np.linspace(0, 3, 7))) == 7


def test_of_very_many_values_some_are_enough() -> None:
    """45,000 values, of which every third is used, show the exponential distribution that they are quantiles of."""
    values = -np.log1p(-(np.arange(45_000) + 0.5) / 45_000)
    grid = np.array([0.0, 0.5, 1.0, 2.0, 3.0])
    shuffled = np.random.default_rng(0).permutation(values)
    assert density(shuffled, grid) == density(values, grid)
    assert density(values, grid)[1:] == pytest.approx(np.exp(-grid[1:]), rel=0.03)


def test_golds_are_pooled_and_constants_left_out() -> None:
    """One sample per model; that of all golds stands where the first of them does."""
    names = {"original": [1.0], "gold": [2.0], "constant": [3.0], "model": [4.0], "gold 2": [5.0]}
    asked = panel({name: {"train-forget": seen(values)} for name, values in names.items()})
    found = pooled(asked, lambda subject: subject.parts["train-forget"].prediction)
    assert {name: values.tolist() for name, values in found.items()} == {"original": [1], "gold": [2, 5], "model": [4]}
    assert list(found) == ["original", "gold", "model"]
