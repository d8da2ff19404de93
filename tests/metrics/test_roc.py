"""The ROC curve's area, its bootstrap interval and the true positive rate, by hand and against others' code."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import roc_auc_score, roc_curve

from unregress.metrics.predictions import Values
from unregress.metrics.roc import auc, auc_interval, true_positive_rate

# Few different values, so that ties are everywhere.
scores = arrays(np.float64, st.integers(1, 30), elements=st.integers(-4, 4).map(float))
rates = st.sampled_from([0.01, 0.07, 0.1, 0.29, 0.5, 0.9])


def labelled(members: Values, others: Values) -> tuple[Values, Values]:
    return np.repeat([1.0, 0.0], [len(members), len(others)]), np.concatenate([members, others])


@pytest.mark.parametrize(
    ("members", "others", "area"),
    [
        # 3 beats both, 2 beats 1 and ties with 2, 0 beats none: 2 + 1.5 + 0 of 6 pairs.
        ([3.0, 2.0, 0.0], [1.0, 2.0], 3.5 / 6),
        ([5.0, 4.0], [1.0, 2.0], 1.0),
        ([1.0, 2.0], [5.0, 4.0], 0.0),
        ([7.0, 7.0, 7.0], [7.0, 7.0], 0.5),
        ([1.0], [0.0, 2.0], 0.5),
    ],
    ids=["a tie", "all above", "all below", "all tied", "one"],
)
def test_area_by_hand(members: list[float], others: list[float], area: float) -> None:
    assert auc(np.array(members), np.array(others)) == pytest.approx(area, abs=1e-15)


@given(scores, scores)
def test_area_is_the_share_of_pairs_and_blind_to_order(members: Values, others: Values) -> None:
    pairs = [(member > other) + (member == other) / 2 for member in members for other in others]
    assert auc(members, others) == pytest.approx(np.mean(pairs), abs=1e-12)
    assert auc(members[::-1], np.roll(others, 3)) == pytest.approx(auc(members, others), abs=1e-12)


@given(scores, scores)
def test_area_turns_around_and_ignores_a_change_of_scale(members: Values, others: Values) -> None:
    area = auc(members, others)
    assert auc(others, members) == pytest.approx(1 - area, abs=1e-12)
    assert auc(-members, -others) == pytest.approx(1 - area, abs=1e-12)
    assert auc(np.exp(members), np.exp(others)) == area


@given(scores, scores, rates)
def test_true_positive_rate_equals_scikit_learn(members: Values, others: Values, rate: float) -> None:
    false, true, _ = roc_curve(*labelled(members, others), drop_intermediate=False)
    assert true_positive_rate(members, others, rate) == pytest.approx(true[false <= rate + 1e-12].max(), abs=1e-12)


@pytest.mark.parametrize(
    ("allowed", "share"),
    [
        (0.01, 0.25),  # none of five: above 50 is 60 of the four members
        (0.2, 0.5),  # one of five: above 40 are 60 and 45
        (0.4, 0.75),  # two of five: above 30 are 60, 45 and 35
        (0.59, 0.75),  # still two of five
    ],
)
def test_true_positive_rate_by_hand(allowed: float, share: float) -> None:
    others = np.array([10.0, 20.0, 30.0, 40.0, 50.0])
    assert true_positive_rate(np.array([60.0, 45.0, 35.0, 5.0]), others, allowed) == share


@pytest.mark.parametrize("rounding", [6, 0], ids=["few ties", "many ties"])
def test_interval_equals_the_slow_loop_on_the_same_draws(rounding: int) -> None:
    source = np.random.default_rng(0)
    members, others = source.normal(0.5, 1, 37).round(rounding), source.normal(0, 1, 23).round(rounding)
    rng, areas = np.random.default_rng(7), []
    for _ in range(200):
        drawn = [side[rng.integers(len(side), size=len(side))] for side in (members, others)]
        areas.append(roc_auc_score(*labelled(*drawn)))
    expected = np.quantile(areas, [0.025, 0.975])
    assert auc_interval(members, others, np.random.default_rng(7), draws=200) == pytest.approx(expected, abs=1e-12)


def test_interval_covers_one_half_about_as_often_as_it_says_when_nothing_differs() -> None:
    """95 of 100; of 300 repetitions the share has a standard error of 1.3 %, and the bootstrap is a little narrow."""
    source, covered = np.random.default_rng(1), []
    for _ in range(300):
        members, others = source.normal(size=40), source.normal(size=50)
        low, high = auc_interval(members, others, source, draws=200)
        covered.append(low <= 0.5 <= high)
    assert 0.91 <= np.mean(covered) <= 0.98


def test_interval_is_as_wide_as_theory_says() -> None:
    """Without ties and differences the AUC's variance is (n + m + 1) / (12 n m) (Mann and Whitney 1947)."""
    source = np.random.default_rng(2)
    members, others = source.normal(size=600), source.normal(size=100)
    low, high = auc_interval(members, others, source, draws=2000)
    assert (high - low) / (2 * 1.96) == pytest.approx(np.sqrt(701 / (12 * 600 * 100)), rel=0.1)


def test_interval_of_scores_that_are_all_apart_or_all_the_same_has_no_width() -> None:
    rng = np.random.default_rng(0)
    assert auc_interval(np.array([3.0, 4.0]), np.array([1.0, 2.0]), rng, draws=20) == (1, 1)
    assert auc_interval(np.ones(4), np.ones(3), rng, draws=20) == (0.5, 0.5)
