"""Memory of a few samples: how much better a model knows the samples that it knows best than the golds do."""

from __future__ import annotations

import numpy as np

from unregress.evidence.nan_means import mean, root_mean_square
from unregress.metrics.predictions import Values

SHARE = 20
"""One sample in so many counts: those that are known best."""
PRIOR = 4
"""Golds that the mean variance over all samples counts for, beside those that a sample's own variance comes from."""


def memory_of_few(prediction: Values, target: Values, golds: Values) -> float:
    """Mean over the twentieth of the samples that a model knows best of how much better it knows them than the golds.

    For each sample, the golds' mean is farther from the target than the model by (|m - y| - |f - y|) / s, where s is a
    gold's standard deviation there, its variance drawn towards that of all samples: s² = (4 v̄ + (R - 1) v) / (R + 3).
    The mean over *all* samples misses one that is known by heart; of a gold, the best twentieth is about as good by
    chance.

    Args:
        prediction: f, `(m, *out)`.
        target: y, of the same shape; unknown outputs (NaN) are left out.
        golds: their predictions, `(golds, m, *out)`, of two or more.

    >>> golds = np.array([[0.0, 1.0], [2.0, 1.0]])  # means 1 and 1, variances 2 and 0
    >>> memory_of_few(np.array([4.0, 1.0]), np.array([4.0, 4.0]), golds)  # 3 / sqrt((4 · 1 + 1 · 2) / 5)
    2.7386127875258306
    """
    samples, count = len(target), len(golds)
    spread = mean(np.where(np.isnan(target), np.nan, golds.var(axis=0, ddof=1)).reshape(samples, -1), axis=1)
    error_of_mean, error = (
        mean(np.abs(each - target).reshape(samples, -1), axis=1) for each in (golds.mean(axis=0), prediction)
    )
    pooled = (PRIOR * spread.mean() + (count - 1) * spread) / (count - 1 + PRIOR)
    # Golds that agree to the last digit would make any difference infinite.
    least = 1e-6 * root_mean_square(error_of_mean) or 1.0
    better = (error_of_mean - error) / np.maximum(np.sqrt(pooled), least)
    best = -(-samples // SHARE)
    return float(np.sort(better)[-best:].mean())
