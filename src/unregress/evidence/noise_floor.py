"""The noise floor: rank test, confidence interval and prediction interval from the golds' values.

Golds differ by their seed only.  Their distance to each other is the closest that a model can be expected to come, and
under the null hypothesis a model that has forgotten is one more gold.  Arrays in, numbers out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from unregress.evidence.nan_means import scale_of

Matrix = NDArray[np.float64]


def rank_test(between: Matrix, toward: NDArray[Any]) -> float | None:
    """P-value of a model's distance to the golds: how often one more gold would be as far or farther.

    Golds and model are ranked by their mean distance to all others.  If the model is one more gold they are
    exchangeable and every rank is equally likely: the test is exact, and its smallest value is 1 / (golds + 1).
    None with fewer than two golds.

    Args:
        between: golds against golds, `(golds, golds)`.
        toward: the model against each gold, `(golds,)`.

    >>> rank_test(np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([9.0, 9.0]))
    0.3333333333333333
    """
    golds = len(between)
    if golds < 2:
        return None
    own = (between.sum(axis=1) + toward) / golds
    # Equal up to rounding counts as equal: sums in another order must not decide.
    farther = own >= np.mean(toward) * (1 - 1e-9)
    return float((1 + farther.sum()) / (golds + 1))


def mean_confidence_interval(toward: NDArray[Any], confidence: float = 0.95) -> tuple[float, float] | None:
    """Confidence interval of a model's mean distance to all possible golds, given its distance to some.

    Student's confidence interval of a mean, cut at 0: to one fixed model, the distances of golds that differ by their
    seed are independent draws.  None with fewer than two golds.

    Args:
        toward: the model against each gold, `(golds,)`.
        confidence: coverage of the interval, if distances are normally distributed.

    >>> low, high = mean_confidence_interval(np.array([1.0, 2.0, 3.0]))
    >>> round(low, 2), round(high, 2)
    (0.0, 4.48)
    """
    from scipy.stats import t as student

    golds = len(toward)
    if golds < 2:
        return None
    quantile = float(student.ppf((1 + confidence) / 2, golds - 1))
    center, reach = float(np.mean(toward)), quantile * _deviation(toward) / float(np.sqrt(golds))
    return max(0.0, center - reach), center + reach


def _deviation(values: NDArray[Any]) -> float:
    scale = scale_of(values)
    return scale * float(np.std(values / scale, ddof=1))


def standard_deviation(values: NDArray[Any], *, paired: bool) -> float:
    """Standard deviation of one gold's value from seed to seed, estimated without bias from several golds.

    Args:
        values: the measure of each gold.
        paired: whether each value is a gold's mean distance to the other golds, or its logarithm.  Such values share
            their distances and so vary too little: for R golds by the factor (R - 2) / (R - 1), which is corrected
            here, if a distance is the sum of one contribution from either side.
    """
    golds = len(values)
    deviation = _deviation(values)
    return deviation * (golds - 1) / (golds - 2) if paired else deviation


def prediction_interval(
    values: NDArray[Any], level: float, *, paired: bool = False, golds: int | None = None
) -> tuple[float, float]:
    """Prediction interval of one more gold's value, with probability `level` beyond either limit.

    Student's prediction interval: mean ± t · sd · sqrt(1 + 1 / R), with R - 1 degrees of freedom; for distances, of
    their logarithms.  Distances are skewed: where golds differ mostly by an offset common to all their predictions,
    one gold in the tail is far from all others, and limits on the plain scale would be crossed four to six times as
    often as they should.  On the logarithmic scale, simulated for a level of 1 %: 0.6 % if a distance is the sum of one
    contribution from either side, 1 to 3 % in most other cases, 5 % at worst, where offset and scatter are equal.

    Args:
        values: the measure of each gold, three or more.
        level: probability beyond each of the two limits, which may be infinite.
        paired: as for `standard_deviation`.
        golds: number of golds to compute the limits for, given the spread of the values; None for as many as there are
            values.

    >>> low, high = prediction_interval(np.array([1.0, 2.0, 3.0]), 0.025)
    >>> round(low, 2), round(high, 2)
    (-2.97, 6.97)
    """
    from scipy.stats import t as student

    count = len(values) if golds is None else golds
    if paired and np.min(values) <= 0:
        return 0.0, float(np.max(values))  # one gold equals all others, and so all are equal
    scale = np.log(values) if paired else values
    quantile = float(student.ppf(1 - level, count - 1))
    reach = quantile * standard_deviation(scale, paired=paired) * float(np.sqrt(1 + 1 / count))
    center = float(np.mean(scale))
    low, high = center - reach, center + reach
    with np.errstate(over="ignore"):
        return (float(np.exp(low)), float(np.exp(high))) if paired else (low, high)
