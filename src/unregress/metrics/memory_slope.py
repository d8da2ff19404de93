"""How far predictions lean from those without memory towards the true values, and how far they do so by chance.

Arrays in, numbers out.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from unregress.data.request import Index
from unregress.evidence.table_verdict import TABLE_LEVEL
from unregress.metrics.predictions import Values


def memory_kept(prediction: Values, target: Values, left_out: Values, scale: float) -> float:
    """How far predictions lean from leave-out predictions towards the targets: 1 on the target, 0 with no memory.

    The slope of (f - O) on (y - O) through the origin, Σ (f - O)(y - O) / Σ [(y - O)² + c], with a small c that keeps
    samples which the leave-out models predict well from deciding it.

    Args:
        prediction: f, `(m, *out)`.
        target: y, of the same shape; unknown outputs (NaN) are left out.
        left_out: O, predictions by models that never saw the samples, of the same shape.
        scale: typical (y - O)², of which c is a twenty-fifth.

    >>> memory_kept(np.array([2.0, 3.0]), np.array([2.0, 4.0]), np.array([1.0, 2.0]), scale=0.0)
    0.6
    """
    leaning = (prediction - left_out) * (target - left_out)
    return float(leaning[~np.isnan(target)].sum() / full_memory(target, left_out, scale))


def full_memory(target: Values, left_out: Values, scale: float) -> float:
    """The denominator of `memory_kept`: Σ [(y - O)² + c] over known outputs; arguments as there."""
    known = ~np.isnan(target)
    return np.float64(((target - left_out) ** 2 + scale / 25)[known].sum())


class Null(NamedTuple):
    """What samples that no model ever saw show."""

    slopes: Values
    """`memory_kept` of random groups of never-seen samples, spread as that of a new group is; `(draws,)`."""
    moved: Values
    """f - O of these groups, `(draws, m, *out)`."""
    alone: Values
    """`memory_kept` of single never-seen samples, `(u,)`."""
    widening: float = 1.0
    """Factor by which the slopes' spread is widened, see `memory_groups.Groups`."""


def null_of(
    prediction: Values, target: Values, left_out: Values, groups: Index, scale: float, widening: float = 1.0
) -> Null:
    """The slopes of groups of never-seen samples.

    Args:
        prediction: of never-seen samples, `(u, *out)`.
        target: of the same shape.
        left_out: by models that never saw them, of the same shape.
        groups: positions of the samples of each group, `(draws, m)`.
        scale: as for `memory_kept`.
        widening: factor by which a new group varies more than these groups, which share their samples.
    """
    singles = np.arange(len(target))[:, None]
    slopes, alone = (slopes_of(prediction, target, left_out, each, scale) for each in (groups, singles))
    return Null(widened(slopes, widening), (prediction - left_out)[groups], alone, widening)


def slopes_of(prediction: Values, target: Values, left_out: Values, groups: Index, scale: float) -> Values:
    """`memory_kept` of each group, `(groups,)`; arguments as for `null_of`.

    >>> answers, truth, without = np.array([1.0, 2.0, 5.0]), np.array([2.0, 2.0, 5.0]), np.zeros(3)
    >>> slopes_of(answers, truth, without, np.array([[0, 1], [2, 2]]), 0.0).tolist()
    [0.75, 1.0]
    """
    gap = (target - left_out).reshape(len(target), -1)
    leaning = np.nansum((prediction - left_out).reshape(gap.shape) * gap, axis=1)
    full = np.where(np.isnan(gap), 0.0, gap**2 + scale / 25).sum(axis=1)
    found: Values = leaning[groups].sum(axis=1) / full[groups].sum(axis=1)
    return found


def p_value(slope: float, null: Values) -> float:
    """One-sided p-value: how often never-seen samples lean as far towards their targets.

    >>> p_value(0.5, np.array([0.1, 0.6, -0.2]))
    0.5
    """
    return float((1 + (null >= slope).sum()) / (1 + len(null)))


def chance(
    slope: float, prediction: Values, target: Values, left_out: Values, groups: Index, scale: float, widening: float
) -> float:
    """One-sided p-value of a slope by groups of never-seen samples; other arguments as for `null_of`."""
    return p_value(slope, widened(slopes_of(prediction, target, left_out, groups, scale), widening))


def power(original: Values, target: Values, left_out: Values, null: Null, share: float, scale: float) -> float:
    """Probability that the test notices a model that kept a share of the original's memory.

    Such a model is imitated by the deviations of never-seen samples, to which a share of the original's is added.

    Args:
        original: the original's predictions of the forgotten samples, `(m, *out)`.
        target: of the same shape.
        left_out: of the same shape.
        null: of groups of as many samples.
        share: of the memory, 0 to 1.
        scale: as for `memory_kept`.
    """
    limit = np.quantile(null.slopes, 1 - TABLE_LEVEL)
    imitated = left_out + null.moved + share * (original - left_out)
    slopes = np.array([memory_kept(each, target, left_out, scale) for each in imitated])
    return float((widened(slopes, null.widening) > limit).mean())


def widened(slopes: Values, factor: float) -> Values:
    """Slopes about their mean, farther apart."""
    mean = slopes.mean()
    found: Values = mean + factor * (slopes - mean)
    return found
