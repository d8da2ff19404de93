"""The one test of a request with few forgotten samples: is the memory that a model kept beyond one more gold's?"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, sqrt
from typing import NamedTuple

import numpy as np

from unregress.evidence.findings import Measurement


class MemoryTest(NamedTuple):
    """Student's one-sided test of one model against the golds; its limit can be computed for other numbers of golds."""

    value: float
    """The memory that the model kept."""
    beyond: float
    """How much of it is more than the golds' mean."""
    error: float
    """Standard deviation of `beyond` for one more gold."""
    golds: int
    """Number of golds that the model is compared with, two or more."""

    @classmethod
    def of(cls, measure: Measurement, golds: int) -> MemoryTest | None:
        """Read the test back from a measurement of `memory`; None if it has no value or interval.

        Args:
            measure: of a model that is not a gold.
            golds: number of golds that it was compared with.
        """
        if measure.value is None or measure.interval is None:
            return None
        low, high = measure.interval
        return cls(measure.value, (low + high) / 2, (high - low) / 2 / _quantile(0.025, golds), golds)

    @classmethod
    def of_golds(cls, values: Sequence[float]) -> MemoryTest:
        """The test of a model that lies at the golds' mean, known from the golds alone.

        A gold's distance from the mean of the others is R / (R - 1) times that from the mean of all R.

        Args:
            values: memory kept by each gold, compared with the others; two or more.

        >>> test = MemoryTest.of_golds([-1.5, 0.0, 1.5])  # of golds at -1, 0 and 1
        >>> test.value, round(test.error, 4)  # 1 · √(1 + 1/3)
        (0.0, 1.1547)
        """
        count = len(values)
        deviation = float(np.std(values, ddof=1)) * (count - 1) / count
        return cls(float(np.mean(values)), 0.0, deviation * sqrt(1 + 1 / count), count)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % confidence interval of `beyond`."""
        reach = _quantile(0.025, self.golds) * self.error
        return self.beyond - reach, self.beyond + reach

    @property
    def p(self) -> float:
        """One-sided p-value: how often one more gold would keep as much.

        >>> round(MemoryTest(value=0.5, beyond=2.776, error=1.0, golds=5).p, 4)
        0.025
        """
        return _above(self.beyond, self.error, self.golds)

    def limit(self, level: float, golds: int | None = None) -> float:
        """The value that one more gold exceeds with a probability.

        Args:
            level: the probability.
            golds: number of golds to compute the limit for, given the spread of the present ones; None for as many as
                there are.
        """
        count = self.golds if golds is None else golds
        error = self.error * sqrt((1 + 1 / count) / (1 + 1 / self.golds))
        return self.value - self.beyond + _quantile(level, count) * error

    def power(self, limit: float, expected: float) -> float:
        """Probability that a model exceeds a limit, by Student's predictive distribution from the present golds.

        Args:
            limit: of the test.
            expected: the model's value on average; at the limit the probability is one half.
        """
        return _above(limit - expected, self.error, self.golds)


class Sensitivity(NamedTuple):
    """What the test notices of an original's memory, the same for every model that is judged by these golds."""

    power: float
    """Probability that a model which kept half of the memory is noticed."""
    share: float
    """Smallest share of the memory that is noticed with even odds or better; infinite if there is no memory."""


def sensitivity(
    gold_values: Sequence[float], original: float, level: float, tolerance: float, golds: int | None = None
) -> Sensitivity:
    """What one more gold that kept a share of an original's memory would show, by the golds alone.

    Args:
        gold_values: memory kept by each gold, compared with the others.
        original: the original's.
        level: of the test.
        tolerance: smallest share of the original's memory that matters.
        golds: number of golds that judge, given the spread of the present ones; None for as many as there are.

    >>> found = sensitivity([-1.5, 0.0, 1.5], 10.0, level=0.04, tolerance=0.05)
    >>> round(found.share, 3), round(found.power, 2)  # Student's quantile of 3.320 times 1.155, and 5 beyond 3.833
    (0.383, 0.79)
    """
    test = MemoryTest.of_golds(gold_values)
    whole = original - test.value
    limit = max(test.limit(level, golds), test.value + tolerance * abs(whole))
    share = (limit - test.value) / whole if whole > 0 else inf
    return Sensitivity(test.power(limit, test.value + whole / 2), share)


def _quantile(level: float, golds: int) -> float:
    """Student's t that is exceeded with a probability, with as many degrees of freedom as golds less one."""
    from scipy.stats import t as student

    return float(student.isf(level, golds - 1))


def _above(distance: float, error: float, golds: int) -> float:
    """Probability that one more gold's deviation from the golds' mean is at least a distance."""
    from scipy.stats import t as student

    if error == 0:
        return float(distance <= 0)
    return float(student.sf(distance / error, golds - 1))
