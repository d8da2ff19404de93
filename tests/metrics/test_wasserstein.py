"""W1 as a pure function: by hand, against other definitions, and its invariances."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import wasserstein_distance

from support.hand_panels import measures, panel, seen, values
from unregress.errors import DataError
from unregress.evidence import Figure
from unregress.metrics import Wasserstein
from unregress.metrics.base import Panel
from unregress.metrics.density import density
from unregress.metrics.predictions import Predictions, Values
from unregress.metrics.wasserstein import sorted_w1, w1

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


def test_distances_are_means_over_the_golds_and_a_golds_over_the_others() -> None:
    """By hand, on the forgotten part: the golds are 2 and 4 from each other's distributions and from the original's."""
    asked = panel(
        {
            "original": parts([0.0, 1.0], [9.0]),
            "gold": parts([3.0, 2.0], [5.0]),  # 2 from the original: |0 - 2| and |1 - 3|
            "model": parts([4.0, 7.0], [6.0]),  # 3 from the first gold, 1 from the second
            "gold 2": parts([5.0, 4.0], [8.0]),  # 2 from the first gold, 4 from the original
        }
    )
    expected = {
        ("w1", "train-forget", "original"): 3.0,
        ("w1", "train-forget", "model"): (3 + 1) / 2,
        ("w1", "train-forget", "gold"): 2.0,
        ("w1", "train-forget", "gold 2"): 2.0,
        ("w1", "test-forget", "original"): (4 + 1) / 2,
        ("w1", "test-forget", "model"): (1 + 2) / 2,
        ("w1", "test-forget", "gold"): 3.0,
        ("w1", "test-forget", "gold 2"): 3.0,
    }
    found = values(Wasserstein(), asked)
    assert {key: value for key, value in found.items() if key[0] == "w1"} == expected
    # All targets are 1, so that residuals are predictions less 1.
    assert {("w1", *key[1:]): value for key, value in found.items() if key[0] == "w1-residual"} == expected


def test_residuals_see_which_target_a_prediction_belongs_to_and_distributions_do_not() -> None:
    """Predictions 1 and 5 for targets 1 and 5, swapped: the same distribution, but residuals 4 and -4 for 0 and 0."""
    target = [1.0, 5.0]
    asked = panel(
        {"original": {"train-forget": seen([5.0, 1.0], target)}, "gold": {"train-forget": seen(target, target)}}
    )
    found = values(Wasserstein(), asked)
    assert found[("w1", "train-forget", "original")] == 0
    assert found[("w1-residual", "train-forget", "original")] == 4


def test_each_distance_is_ranked_among_the_golds() -> None:
    """Golds at 0, 1, 2; the model at 9 is farthest of four, the one at 1 is no farther than any: p = 1/4 and 1."""
    golds = {f"gold {n}": parts([n, n]) for n in range(3)}
    found = measures(Wasserstein(), panel({"original": parts([9.0, 9.0]), "model": parts([1.0, 1.0]), **golds}))
    assert found[("w1", "train-forget", "original")].p == 1 / 4
    assert found[("w1", "train-forget", "model")].p == 1
    assert {found[("w1", "train-forget", name)].p for name in golds} == {None}


def test_measured_on_each_forgotten_part_that_has_samples() -> None:
    one = panel({"original": parts([0.0, 1.0]), "gold": parts([3.0, 2.0])})
    assert {split for _, split, _ in values(Wasserstein(), one)} == {"train-forget"}


def test_without_golds_there_is_no_distance_and_with_one_none_of_its_own_and_no_rank() -> None:
    assert measures(Wasserstein(), panel({"original": parts([0.0, 1.0]), "model": parts([3.0, 2.0])})) == {}
    found = measures(Wasserstein(), panel({"original": parts([0.0, 1.0]), "gold": parts([3.0, 2.0])}))
    assert {(metric, model) for metric, _, model in found} == {("w1", "original"), ("w1-residual", "original")}
    assert {measure.p for measure in found.values()} == {None}


def test_predictions_about_other_samples_are_refused() -> None:
    with pytest.raises(DataError, match="different samples"):
        values(Wasserstein(), panel({"gold": parts([0.0, 1.0]), "original": parts([3.0, 2.0, 4.0])}))


def figure(asked: Panel) -> Figure:
    (found,) = [found for found in Wasserstein().measure(asked) if isinstance(found, Figure)]
    return found


def test_no_curve_has_an_x_without_a_y() -> None:
    """A model that predicts one number has no density: readers expect a curve without points, or none."""
    asked = panel({"original": parts([0.0, 1.0, 2.0]), "still": parts([1.0, 1.0, 1.0])})
    drawn = {curve.model: (len(curve.x), len(curve.y)) for curve in figure(asked).curves}
    assert drawn["original"] == (200, 200)
    assert drawn.get("still", (0, 0)) == (0, 0)


def test_golds_are_drawn_as_one_and_the_constant_is_not() -> None:
    """The density of all golds' predictions together, under the first one's name."""
    asked = panel(
        {
            "original": parts([0.0, 1.0]),
            "constant": parts([1.0, 1.0]),
            "gold": parts([3.0, 2.0]),
            "gold 2": parts([5.0, 9.0]),
        }
    )
    drawn = {curve.model: curve for curve in figure(asked).curves}
    assert list(drawn) == ["original", "gold"]
    grid = np.array(drawn["gold"].x)
    assert drawn["gold"].y == pytest.approx(density(np.array([3.0, 2.0, 5.0, 9.0]), grid))


def test_sorted_predictions_give_the_same_distance() -> None:
    """Against scipy, several outputs and ties included."""
    rng = np.random.default_rng(0)
    for shape in ((50,), (50, 1), (40, 3), (7, 2, 2)):
        first, second = rng.normal(size=shape).round(1), 2 * rng.normal(size=shape).round(1) + 1
        quick = sorted_w1(np.sort(first, axis=0), np.sort(second, axis=0))
        assert quick == pytest.approx(w1(first, second), rel=1e-12)
