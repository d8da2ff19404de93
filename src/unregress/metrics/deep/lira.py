"""The likelihood-ratio attack (LiRA) on models of which half were trained on each sample.

Carlini et al. (2022) attack a classifier's confidence; here residuals take its place.  Arrays in, numbers out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np

from unregress.data.request import Index, Mask
from unregress.errors import DataError
from unregress.evidence.nan_means import mean, scale_of
from unregress.metrics.predictions import Values
from unregress.metrics.roc import auc

TINY = 1e-3
"""Residuals below this share of the mean absolute residual are raised to it, since their logarithms diverge."""


def halves(samples: int, targets: Index, models: int, rng: np.random.Generator) -> Mask:
    """Draw the training samples of each model: the two models of a pair get complementary halves of the samples.

    Args:
        samples: size of the training set.
        targets: positions of the samples that the models trained on them will forget.
        models: an even number.
        rng: draws the halves.

    Returns:
        `(models, samples)`; rows 2j and 2j + 1 are complements.
    """
    others = np.setdiff1d(np.arange(samples), targets)
    has = np.zeros((models, samples), dtype=np.bool_)
    for pair in range(0, models, 2):
        for group in (targets, others):
            has[pair, rng.permutation(group)[: len(group) // 2]] = True
        has[pair + 1] = ~has[pair]
    return has


def signals(residual: Values) -> Values:
    """The attack's features: mean residual and log mean |residual|, over known outputs; `(models, n, 2)`.

    Args:
        residual: prediction - target, `(models, n, *out)`, NaN where the target is not known.
    """
    # Rescaled if residuals could not be squared: the attack does not depend on their unit.
    flat = residual.reshape(*residual.shape[:2], -1) / scale_of(residual)
    size = np.asarray(mean(np.abs(flat), axis=2))
    # The smallest positive number is the floor for models without any error.
    least = max(TINY * float(size.mean()), float(np.finfo(np.float64).tiny))
    return np.stack([np.asarray(mean(flat, axis=2)), np.log(np.maximum(size, least))], axis=2)


def paired(values: Values, has: Mask) -> tuple[Values, Values]:
    """Split each pair of models, sample by sample, into the model trained on the sample and its partner.

    Args:
        values: `(models, n, width)`.
        has: `(models, n)`; rows 2j and 2j + 1 are complements.

    Returns:
        Two arrays `(pairs, n, width)`.

    Raises:
        DataError: the rows are not complements.
    """
    first = has[0::2]
    if len(has) % 2 or not np.array_equal(has[1::2], ~first):
        raise DataError("The models are not pairs that were trained on complementary halves of the samples")
    chosen = first[:, :, None]
    return np.where(chosen, values[0::2], values[1::2]), np.where(chosen, values[1::2], values[0::2])


def log_ratios(had: Values, unseen: Values) -> tuple[Values, Values]:
    """Log likelihood ratios of each model's signals, with the sample against without it: `(pairs, n)`, twice.

    Both alternatives are Gaussian, with means of the sample's own and one covariance each, pooled over samples.  Both
    are estimated without the pair of models under attack: leaving out only the attacked model would give one side a
    model fewer than the other, and scores would differ where there is nothing to find.

    Args:
        had: signals of the models that were trained on the sample, `(pairs, n, width)`; three pairs or more.
        unseen: signals of their partners.

    Returns:
        Scores of `had` and of `unseen`.  Without a trace of the samples, neither is higher than the other.
    """
    inside, outside = (Gaussians.without_each(side) for side in (had, unseen))
    return inside.log_density(had) - outside.log_density(had), inside.log_density(unseen) - outside.log_density(unseen)


@dataclass(frozen=True)
class Gaussians:
    """Normal densities of signals, one for each pair under attack, or one for all of them: their first axis is 1 then.

    A mean per sample, `(pairs, n, width)`, and a covariance, `(pairs, width, width)`.
    """

    mean: Values
    covariance: Values

    @classmethod
    def of_all(cls, signal: Values) -> Gaussians:
        """Estimate from all pairs, `(pairs, n, width)`, to attack models that are not among them."""
        pairs, samples, _ = signal.shape
        away = signal - signal.mean(axis=0)
        squares = np.einsum("pni,pnj->ij", away, away)[None]
        return cls(signal.mean(axis=0)[None], squares / (samples * (pairs - 1)) + _ridge(signal))

    @classmethod
    def without_each(cls, signal: Values) -> Gaussians:
        """Estimate once for each pair, from all other pairs."""
        pairs, samples, _ = signal.shape
        others = pairs - 1
        mean = (signal.sum(axis=0) - signal) / others
        # Sum of squares about the mean of all, less what the left-out pair adds to it (Welford 1962).
        away = signal - signal.mean(axis=0)
        each = np.einsum("pni,pnj->pij", away, away)
        squares = each.sum(axis=0) - each * pairs / others
        return cls(mean, squares / (samples * (others - 1)) + _ridge(signal))

    def log_density(self, signal: Values) -> Values:
        """Log density up to a constant; `(pairs, n)`."""
        away = signal - self.mean
        distance = np.einsum("pni,pij,pnj->pn", away, np.linalg.inv(self.covariance), away)
        _, volume = np.linalg.slogdet(self.covariance)
        return np.asarray(-(distance + volume[:, None]) / 2)


def _ridge(signal: Values) -> Values:
    """Signals that never vary have no density: a trace of noise makes them all equally likely; `(width, width)`."""
    spread = signal.reshape(-1, signal.shape[2]).var(axis=0)
    return np.diag(1e-9 * spread + np.finfo(np.float64).tiny ** 0.5)


def told_apart(had: Values, unseen: Values) -> Values:
    """Share of samples, per pair of models, for which the model that had the sample scores higher; `(pairs,)`.

    This is each sample's AUC, restricted to models that were attacked from the same estimates.  Equal scores count
    one half.

    >>> told_apart(np.array([[2.0, 1.0, 0.0, 5.0]]), np.array([[1.0, 1.0, 3.0, 4.0]]))
    array([0.625])
    """
    return np.asarray(((had > unseen).mean(axis=1) + (had >= unseen).mean(axis=1)) / 2)


class Flips(NamedTuple):
    """What swapping the roles of pairs says about some statistics, each `(statistics,)`."""

    observed: Values
    chance: Values
    """Mean over swaps: the value to be expected of models without any trace of the samples."""
    p: Values
    """How often models without any trace would have a value as large."""


def flip_tests(
    had: Values,
    unseen: Values,
    statistics: Callable[[Values, Values], Values],
    rng: np.random.Generator,
    *,
    draws: int = 999,
) -> Flips:
    """Permutation tests: how often models without any trace of the samples would have statistics as large.

    Without a trace of the samples, the two models of a pair can swap roles: each statistic is compared with its values
    after swapping roles in any of the pairs.  The test is exact; its smallest value is 1 / 2^pairs, and 2 / 2^pairs for
    a statistic that does not change if all pairs swap.

    Args:
        had: signals, as for `log_ratios`.
        unseen: signals of their partners.
        statistics: of the scores that `log_ratios` gives, `(statistics,)`.
        rng: draws the pairs that swap roles, if there are more combinations than draws.
        draws: largest number of combinations to try.
    """
    pairs = len(had)
    every = 2**pairs <= draws + 1
    ways = np.array(list(product([False, True], repeat=pairs))) if every else rng.random((draws, pairs)) < 0.5

    def after(changed: Mask) -> Values:
        where = changed[:, None, None]
        return statistics(*log_ratios(np.where(where, unseen, had), np.where(where, had, unseen)))

    observed = after(np.zeros(pairs, dtype=np.bool_))
    swapped = np.array([after(way) for way in ways])
    # Equal up to rounding counts as equal.
    as_well = (swapped >= observed - 1e-9).sum(axis=0)
    p = as_well / len(ways) if every else (1 + as_well) / (1 + len(ways))
    return Flips(observed, swapped.mean(axis=0), p)


def interval(share: float, by_pair: Values) -> tuple[float, float]:
    """95 % confidence interval of a share over pairs of models, by Student's t.

    Each pair is attacked by estimates from the others, so pairs are not independent.  Where there is nothing to find,
    a share consists of products of two pairs' noise, each of which counts for both pairs: its variance is twice that of
    independent pairs.  This factor is used throughout.

    Args:
        share: over all pairs.
        by_pair: each pair's estimate of it, `(pairs,)`: its own share, or its `pseudo_values`.
    """
    from scipy.stats import t as student

    reach = student.ppf(0.975, len(by_pair) - 1) * by_pair.std(ddof=1) * np.sqrt(2 / len(by_pair))
    return float(max(0.0, share - reach)), float(min(1.0, share + reach))


def pseudo_values(had: Values, unseen: Values) -> Values:
    """Jackknife pseudo-values of the AUC over all scores, one for each pair (Tukey 1958); `(pairs,)`."""
    pairs, every = len(had), np.arange(len(had))
    without = [auc(had[every != pair].ravel(), unseen[every != pair].ravel()) for pair in range(pairs)]
    return np.asarray(pairs * auc(had.ravel(), unseen.ravel()) - (pairs - 1) * np.array(without))
