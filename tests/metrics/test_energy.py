"""Energy distance: by hand, against scipy and the definition, its invariances, and its rows in an audit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from support.hand_panels import measures, panel, seen, values
from unregress import EnergyDistance, Wasserstein
from unregress.evidence import Unit
from unregress.metrics import default_metrics
from unregress.metrics.energy import energy_distance
from unregress.metrics.predictions import Values

finite = st.floats(-1e3, 1e3, allow_nan=False, width=32)
samples = arrays(np.float64, st.integers(1, 12), elements=finite)


@pytest.mark.parametrize(
    ("first", "second", "distance"),
    [
        # 2 E|X - Y| = 2 · 3, and no distance within either sample.
        ([0.0], [3.0], 6.0),
        # 2 · (0 + 10) / 2 between; within the first, of four pairs two are 10 apart: 5.
        ([0.0, 10.0], [0.0, 0.0], 5.0),
        # 2 · 1 between; within the first 2 · 2 / 4.
        ([0.0, 2.0], [1.0], 1.0),
        # 2 · (3 + 2 + 2 + 1) / 4 between; within each 2 · 1 / 4.
        ([0.0, 1.0], [3.0, 2.0], 3.0),
    ],
)
def test_by_hand(first: list[float], second: list[float], distance: float) -> None:
    assert energy_distance(np.array(first), np.array(second)) == pytest.approx(distance, abs=1e-12)


@given(samples, samples)
def test_is_the_square_of_scipys_and_the_definition(first: Values, second: Values) -> None:
    def apart(a: Values, b: Values) -> float:
        return float(np.abs(a[:, None] - b[None, :]).mean())

    found = energy_distance(first, second)
    assert found == pytest.approx(stats.energy_distance(first, second) ** 2, rel=1e-9, abs=1e-9)
    definition = 2 * apart(first, second) - apart(first, first) - apart(second, second)
    assert found == pytest.approx(definition, rel=1e-9, abs=1e-9)


@given(samples, samples, st.floats(0.01, 100), finite)
def test_invariances(first: Values, second: Values, scale: float, shift: float) -> None:
    """Zero to itself in any order, symmetric, in the unit of the predictions, blind to a common shift."""
    distance = energy_distance(first, second)
    assert energy_distance(first, first[::-1]) == 0
    assert energy_distance(second, first) == pytest.approx(distance, rel=1e-9, abs=1e-9)
    assert energy_distance(scale * first, scale * second) == pytest.approx(scale * distance, rel=1e-7, abs=1e-7)
    assert energy_distance(first + shift, second + shift) == pytest.approx(distance, rel=1e-6, abs=1e-6)


def test_mean_over_outputs_by_how_much_is_known() -> None:
    """The first output moves by 3, which is a distance of 6; of the second one of three is known, which moves by 1."""
    first = np.array([[0.0, np.nan], [0.0, 5.0], [0.0, np.nan]])
    second = np.array([[3.0, 6.0], [3.0, np.nan], [3.0, np.nan]])
    assert energy_distance(first, second) == pytest.approx((3 * 6 + 1 * 2) / 4)


def test_rows_of_an_audit() -> None:
    """Distances to the golds, of a gold to the other; residuals see what predictions of other samples hide."""
    target = [1.0, 2.0]
    parts = {
        "original": {"train-forget": seen([2.0, 1.0], target)},
        "gold": {"train-forget": seen([1.0, 2.0], target)},
        "gold 2": {"train-forget": seen([2.0, 3.0], target)},
    }
    found = values(EnergyDistance(), panel(parts))
    key = "energy", "train-forget"
    # Of {1, 2} and {2, 3}: 2 · (1 · 1/4 + 1 · 1/4).
    assert found[(*key, "gold")] == found[(*key, "gold 2")] == pytest.approx(1.0)
    assert found[(*key, "original")] == pytest.approx((0 + 1.0) / 2)
    residual = "energy-residual", "train-forget"
    # {-1, 1} against {0, 0}: 2 · (1/4 + 1/4); against {1, 1}: 2 · 2/4.
    assert found[(*residual, "original")] == pytest.approx((1.0 + 1.0) / 2)
    assert found[(*residual, "gold")] == pytest.approx(2.0)
    assert len(found) == 6
    assert measures(EnergyDistance(), panel(parts))[(*key, "original")].interval is not None


def test_measures_what_wasserstein_measures_on_the_same_parts() -> None:
    rng = np.random.default_rng(0)
    made = {
        name: {part: seen(rng.normal(size=8)) for part in ("train-forget", "test-forget", "test-retain")}
        for name in ("original", "gold", "gold 2", "mine")
    }
    energy, w1 = measures(EnergyDistance(), panel(made)), measures(Wasserstein(), panel(made))
    assert {(m.replace("energy", "w1"), part, model) for m, part, model in energy} == set(w1)
    assert all(measure.value is not None and measure.value >= 0 for measure in energy.values())


def test_nothing_is_measured_without_golds() -> None:
    assert values(EnergyDistance(), panel({"original": {"train-forget": seen([1.0, 2.0])}})) == {}


def test_is_opt_in_and_in_target_units() -> None:
    assert not any(isinstance(metric, EnergyDistance) for metric in default_metrics())
    assert [about.unit for about in EnergyDistance.about] == [Unit.TARGET] * 2
