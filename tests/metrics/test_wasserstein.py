"""W1 as a pure function: by hand, against other definitions, and its invariances."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import wasserstein_distance

from metrics.by_hand import panel, seen, values
from unregress.errors import DataError
from unregress.evidence import Figure
from unregress.metrics import Wasserstein
from unregress.metrics.wasserstein import w1
from unregress.predictions import Predictions, Values

finite = st.floats(-1e3, 1e3, allow_nan=False, width=32)
samples = arrays(np.float64, st.integers(1, 12), elements=finite)
pairs = st.integers(1, 12).flatmap(
    lambda n: st.tuples(arrays(np.float64, n, elements=finite), arrays(np.float64, n, elements=finite))
)


@pytest.mark.parametrize(
    ("first", "second", "distance"),
    [
        ([0.0], [3.0], 3.0),
        ([0.0, 1.0], [3.0, 2.0], 2.0),  # sorted: |0-2| and |1-3|
        ([0.0, 10.0], [0.0, 0.0], 5.0),
        # One half of the mass at 0 and 2 against all at 1: each half moves by 1.
        ([0.0, 2.0], [1.0], 1.0),
        # Quantiles 0 | 0 | 6 against 3 on [0, 1]: 2/3 of the mass moves by 3, 1/3 by 3.
        ([0.0, 0.0, 6.0], [3.0, 3.0], 3.0),
    ],
)
def test_by_hand(first: list[float], second: list[float], distance: float) -> None:
    assert w1(np.array(first), np.array(second)) == pytest.approx(distance, abs=1e-12)


@given(pairs)
def test_equals_mean_gap_of_sorted_values(pair: tuple[Values, Values]) -> None:
    """For samples of equal size, W1 is the mean distance between equal ranks."""
    first, second = pair
    assert w1(first, second) == pytest.approx(np.abs(np.sort(first) - np.sort(second)).mean(), abs=1e-9)


@given(samples, samples)
def test_equals_scipy_also_for_a_column_and_samples_of_different_size(first: Values, second: Values) -> None:
    expected = wasserstein_distance(first, second)
    assert w1(first, second) == pytest.approx(expected, abs=1e-9)
    assert w1(first[:, None], second[:, None]) == pytest.approx(expected, abs=1e-9)


@given(pairs)
def test_zero_to_itself_symmetric_and_blind_to_order(pair: tuple[Values, Values]) -> None:
    first, second = pair
    shuffled = np.random.default_rng(len(first)).permutation(first)
    assert w1(first, first) == 0
    assert w1(first, shuffled) == 0
    assert w1(first, second) == pytest.approx(w1(second, first), abs=1e-9)
    assert w1(shuffled, second) == pytest.approx(w1(first, second), abs=1e-9)


@given(pairs, st.floats(0.01, 100), finite)
def test_change_of_units_scales_and_shift_of_both_does_nothing(
    pair: tuple[Values, Values], scale: float, shift: float
) -> None:
    first, second = pair
    distance = w1(first, second)
    assert w1(scale * first, scale * second) == pytest.approx(scale * distance, rel=1e-9, abs=1e-7)
    assert w1(first + shift, second + shift) == pytest.approx(distance, abs=1e-8)


def test_mean_over_outputs() -> None:
    """First output moves by 2, second by 4; an output is never compared with another one."""
    first = np.array([[0.0, 10.0], [1.0, 20.0]])
    second = np.array([[3.0, 24.0], [2.0, 14.0]])
    assert w1(first, second) == pytest.approx(3.0)
    assert w1(first[:, :, None], second[:, :, None]) == pytest.approx(3.0)


def test_different_numbers_of_outputs_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        w1(np.zeros((3, 2)), np.zeros((3, 1)))


def parts(prediction: list[float], test: list[float] | None = None) -> dict[str, Predictions]:
    return {"train-forget": seen(prediction)} | ({} if test is None else {"test-forget": seen(test)})


def test_measured_on_each_forgotten_part_that_has_samples() -> None:
    both = panel({"gold": parts([0.0, 1.0], [5.0]), "model": parts([3.0, 2.0], [6.0])})
    assert values(Wasserstein(), both) == {
        ("w1", "train-forget", "gold"): 0,
        ("w1", "train-forget", "model"): 2,
        ("w1", "test-forget", "gold"): 0,
        ("w1", "test-forget", "model"): 1,
    }
    one = panel({"gold": parts([0.0, 1.0]), "model": parts([3.0, 2.0])})
    assert {split for _, split, _ in values(Wasserstein(), one)} == {"train-forget"}


def test_predictions_about_other_samples_are_refused() -> None:
    with pytest.raises(DataError, match="different samples"):
        values(Wasserstein(), panel({"gold": parts([0.0, 1.0]), "model": parts([3.0, 2.0, 4.0])}))


def test_no_curve_has_an_x_without_a_y() -> None:
    """A model that predicts a constant has no density: readers expect a curve without points, or none."""
    asked = panel({"gold": parts([0.0, 1.0, 2.0]), "constant": parts([1.0, 1.0, 1.0])})
    (figure,) = [found for found in Wasserstein().measure(asked) if isinstance(found, Figure)]
    drawn = {curve.model: (len(curve.x), len(curve.y)) for curve in figure.curves}
    assert drawn["gold"] == (200, 200)
    assert drawn.get("constant", (0, 0)) == (0, 0)
