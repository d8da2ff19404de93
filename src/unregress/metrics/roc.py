"""ROC analysis of two samples of scores: area under the curve, its interval, and the TPR at a low FPR."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from unregress.metrics.predictions import Values

FEWEST = 10
"""Samples per side below which no interval is given."""
STANDARD_ERRORS = 1.959963984540054
"""Half the width of a 95 % confidence interval of a normally distributed estimate, in standard errors."""


class Area(NamedTuple):
    """Area under the ROC curve."""

    value: float
    interval: tuple[float, float] | None
    """95 % confidence interval over samples of the same two kinds; None with fewer than `FEWEST` on a side."""


def area(members: Values, others: Values) -> Area:
    """Area under the ROC curve as `auc` defines it, with a confidence interval in closed form: O(n log n).

    The variance is DeLong's, of the shares of others that each member scores above and of members that each other
    scores below.  It is carried over to the area's log odds, on which the interval is symmetric: it stays between 0 and
    1, and covers areas near 1 more often than one on the plain scale, or a percentile bootstrap.  Where all members
    score higher than all others the variance is 0, and the interval has no width.

    Source: DeLong, DeLong and Clarke-Pearson (1988); by ranks as in Sun and Xu (2014).

    Args:
        members: scores of the samples to be recognised, `(n,)`.
        others: scores of the samples to tell them from, `(m,)`.
    """
    above, below = _wins(members, others), _wins(others, members)
    value = float(np.sum(above) / (len(members) * len(others)))
    if min(len(members), len(others)) < FEWEST:
        return Area(value, None)
    shares = above / len(others), below / len(members)
    variance = float(sum(np.var(share, ddof=1) / len(share) for share in shares))
    if variance == 0:
        return Area(value, (value, value))
    odds, reach = value / (1 - value), np.exp(STANDARD_ERRORS * np.sqrt(variance) / (value * (1 - value)))
    return Area(value, (float(odds / (odds + reach)), float(odds * reach / (odds * reach + 1))))


def area_difference(first: tuple[Values, Values], second: tuple[Values, Values]) -> Area:
    """Area under the second ROC curve less that under the first, of scores of the same samples, with an interval.

    The interval is DeLong's for correlated curves, symmetric: the variance is that of each sample's own differences.

    Args:
        first: scores of members, `(n,)`, and of others, `(m,)`.
        second: other scores of the same samples in the same order.

    >>> area_difference(([0.0, 2.0], [1.0]), ([2.0, 2.0], [1.0])).value  # one of two pairs, and both
    0.5
    """
    shares = []
    for one, other in ((0, 1), (1, 0)):
        own, before = (_own_wins(np.asarray(each[one]), np.asarray(each[other])) for each in (second, first))
        shares.append((own - before) / len(first[other]))
    value = float(np.mean(shares[0]))
    if min(map(len, shares)) < FEWEST:
        return Area(value, None)
    reach = STANDARD_ERRORS * float(np.sqrt(sum(np.var(share, ddof=1) / len(share) for share in shares)))
    return Area(value, (value - reach, value + reach))


def auc(members: Values, others: Values) -> float:
    """Area under the ROC curve: how often a member scores higher than a non-member, equal scores counting one half.

    Args:
        members: scores of the samples to be recognised, `(n,)`.
        others: scores of the samples to tell them from, `(m,)`.

    >>> round(auc(np.array([3.0, 2.0, 0.0]), np.array([1.0, 2.0])), 4)  # (2 + 1.5 + 0) of 6 pairs
    0.5833
    """
    return float(np.sum(_wins(members, others)) / (len(members) * len(others)))


def _wins(scores: Values, against: Values) -> Values:
    """How many of the others each score is above, equal ones counting one half; by ascending score."""
    # Searching for ascending values is many times as fast as for values in any order.
    ascending, ordered = np.sort(scores), np.sort(against)
    return (np.searchsorted(ordered, ascending, "left") + np.searchsorted(ordered, ascending, "right")) / 2


def _own_wins(scores: Values, against: Values) -> Values:
    """How many of the others each score is above, as `_wins`, in the order of the scores."""
    wins = np.empty(len(scores))
    wins[np.argsort(scores, kind="stable")] = _wins(scores, against)
    return wins


def true_positive_rate(members: Values, others: Values, false_alarms: float) -> float:
    """True positive rate at a given false positive rate: the share of members above the lowest allowed threshold.

    Source: Carlini et al. 2022.

    >>> true_positive_rate(np.array([9.0, 1.0]), np.array([7.0, 5.0, 4.0, 3.0]), 0.25)  # above 5: one of each
    0.5
    """
    allowed = int(false_alarms * len(others) + 1e-9)  # 0.29 * 100 is a little less than 29
    return float(np.mean(members > np.sort(others)[-1 - allowed]))
