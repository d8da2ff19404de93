"""Variance of a measure over trainings and over repetitions of unlearning, told apart by a nested design."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unregress.errors import DataError


@dataclass(frozen=True)
class NestedVariance:
    """Two components of the variance of a measure, in its unit squared."""

    training: float
    """Between originals of different seeds.  The estimate has no bias, and so may be negative where it is small."""
    unlearning: float
    """Between repetitions of unlearning one original."""
    originals: int
    repetitions: int

    @property
    def ratio(self) -> float:
        """F statistic: variance of originals' means times the number of repetitions, over that of repetitions."""
        between = self.unlearning + self.repetitions * self.training
        return between / self.unlearning if self.unlearning > 0 else np.inf if between > 0 else np.nan

    @property
    def p(self) -> float:
        """How often the means of originals that do not differ would vary as much, if values are normal."""
        from scipy.stats import f

        return float(f.sf(self.ratio, self.originals - 1, self.originals * (self.repetitions - 1)))

    @property
    def share(self) -> float:
        """Share of a single model's variance that is due to training; 0 where the estimate is negative."""
        known = max(self.training, 0.0)
        total = known + self.unlearning
        return known / total if total > 0 else np.nan

    def share_interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Confidence interval of the share, exact for normal values (Searle, Casella and McCulloch 1992).

        Args:
            confidence: coverage of the interval.
        """
        from scipy.stats import f

        degrees = self.originals - 1, self.originals * (self.repetitions - 1)
        ends = []
        for tail in ((1 + confidence) / 2, (1 - confidence) / 2):
            excess = (self.ratio / float(f.ppf(tail, *degrees)) - 1) / self.repetitions
            ends.append(1.0 if excess == np.inf else max(0.0, excess / (1 + excess)))
        return ends[0], ends[1]


def nested_variance(values: NDArray[Any]) -> NestedVariance:
    """Split a measure's variance into that of training and that of unlearning, by the method of moments.

    Verdicts over seeds need both: repetitions on one original show how far a method's own draws matter, and say nothing
    of another original.  Source: the one-way analysis of variance with random effects.

    Args:
        values: of the model that each repetition makes of each original, `(originals, repetitions)`, two or more of
            either; repetitions of different originals are not paired.

    Raises:
        DataError: there are too few values, or some are not finite.

    >>> found = nested_variance(np.array([[1.0, 3.0], [5.0, 7.0]]))  # means 2 and 6, mean squares 16 and 2
    >>> found.training, found.unlearning
    (7.0, 2.0)
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or min(values.shape) < 2 or not np.isfinite(values).all():
        raise DataError(
            f"The values have the shape {values.shape}"
            + ("" if np.isfinite(values).all() else ", and some are missing"),
            expected="finite numbers, two or more originals with two or more repetitions each",
        )
    originals, repetitions = values.shape
    within = float(values.var(axis=1, ddof=1).mean())
    between = float(repetitions * values.mean(axis=1).var(ddof=1))
    return NestedVariance((between - within) / repetitions, within, originals, repetitions)
