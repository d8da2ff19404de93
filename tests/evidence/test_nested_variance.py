"""Variance of training and of unlearning: by hand, against simulated designs, and its odd cases."""

from __future__ import annotations

from math import isnan, sqrt

import numpy as np
import pytest
from scipy.stats import f_oneway

from unregress.errors import DataError
from unregress.evidence.nested_variance import nested_variance


def test_by_hand() -> None:
    """Means 2, 6 and 4 about 4; each pair has a variance of 2; 2 · (4 + 4 + 0) / 2 = 8 between: (8 - 2) / 2 = 3."""
    found = nested_variance(np.array([[1.0, 3.0], [5.0, 7.0], [3.0, 5.0]]))
    assert (found.training, found.unlearning, found.ratio, found.share) == (3, 2, 4, 3 / 5)


def test_ratio_and_p_are_those_of_the_analysis_of_variance() -> None:
    values = np.random.default_rng(0).normal(size=(4, 6)) + np.arange(4)[:, None]
    found, expected = nested_variance(values), f_oneway(*values)
    assert (found.ratio, found.p) == pytest.approx((expected.statistic, expected.pvalue))


@pytest.mark.slow
@pytest.mark.parametrize("training", [0.0, 1.0, 3.0])
def test_estimates_have_no_bias_and_the_interval_covers(training: float) -> None:
    """I = 5 originals, J = 4 repetitions of variance 1: 95 of 100 intervals, within three errors of 2,000."""
    rng, found = np.random.default_rng(1), []
    for _ in range(2000):
        found.append(nested_variance(sqrt(training) * rng.normal(size=(5, 1)) + rng.normal(size=(5, 4))))
    estimates = np.array([[each.training, each.unlearning] for each in found])
    errors = estimates.std(axis=0) / sqrt(2000)
    assert (np.abs(estimates.mean(axis=0) - [training, 1.0]) < 4 * errors).all()
    share = training / (training + 1)
    covered = [low <= share <= high for low, high in (each.share_interval() for each in found)]
    # Without any variance of training, a lower end is 0 in 97.5 of 100 cases, and so covers.
    assert np.mean(covered) == pytest.approx(0.975 if not training else 0.95, abs=3 * sqrt(0.05 * 0.95 / 2000))
    if not training:
        assert np.mean([each.p <= 0.05 for each in found]) == pytest.approx(0.05, abs=3 * sqrt(0.05 * 0.95 / 2000))


def test_a_negative_estimate_is_no_share() -> None:
    found = nested_variance(np.array([[0.0, 2.0], [0.0, 2.0]]))
    assert (found.training, found.unlearning, found.share) == (-1, 2, 0)
    assert found.share_interval()[0] == 0


def test_repetitions_that_do_not_vary() -> None:
    found = nested_variance(np.array([[1.0, 1.0], [3.0, 3.0]]))
    assert (found.training, found.unlearning, found.share, found.p) == (2, 0, 1, 0)
    assert found.share_interval() == (1, 1)
    assert isnan(nested_variance(np.ones((2, 2))).share)


@pytest.mark.parametrize("values", [[1.0, 2.0], [[1.0, 2.0]], [[1.0], [2.0]], [[1.0, 2.0], [3.0, np.nan]]])
def test_too_few_or_missing_values_are_refused(values: list[float]) -> None:
    with pytest.raises(DataError):
        nested_variance(np.array(values))
