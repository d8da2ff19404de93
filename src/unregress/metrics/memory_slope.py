"""How far predictions lean from those without memory towards the true values, and how far they do so by chance.

Arrays in, numbers out.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np

from unregress.data.request import Index
from unregress.evidence.table_verdict import TABLE_LEVEL
from unregress.metrics.predictions import Values

MATCHES = 25
"""Never-seen samples with the nearest targets from which each forgotten sample's counterpart is drawn."""


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
    """`memory_kept` of random groups of never-seen samples; `(draws,)`."""
    moved: Values
    """f - O of these groups, `(draws, m, *out)`."""
    alone: Values
    """`memory_kept` of single never-seen samples, `(u,)`."""


def null_of(prediction: Values, target: Values, left_out: Values, groups: Index, scale: float) -> Null:
    """The slopes of groups of never-seen samples.

    Args:
        prediction: of never-seen samples, `(u, *out)`.
        target: of the same shape.
        left_out: by models that never saw them, of the same shape.
        groups: positions of the samples of each group, `(draws, m)`.
        scale: as for `memory_kept`.
    """
    slopes = np.array([memory_kept(prediction[g], target[g], left_out[g], scale) for g in groups])
    singles = np.arange(len(target))[:, None]
    alone = np.array([memory_kept(prediction[g], target[g], left_out[g], scale) for g in singles])
    return Null(slopes, (prediction - left_out)[groups], alone)


def random_groups(size: int, count: int, draws: int, rng: np.random.Generator) -> Index:
    """Groups of never-seen samples drawn at random, each sample at most once in a group; `(draws, count)`."""
    return np.stack([rng.choice(size, count, replace=False) for _ in range(draws)])


def groups_of_people(people: Sequence[Hashable], count: int, draws: int, rng: np.random.Generator) -> Index:
    """Groups of never-seen samples, person by person until there are enough; `(draws, count)`.

    What a person's samples have in common makes a group vary more than samples of as many people do.
    """
    rows: dict[Hashable, list[int]] = {}
    for place, person in enumerate(people):
        rows.setdefault(person, []).append(place)
    members = list(rows.values())
    orders = (rng.permutation(len(members)) for _ in range(draws))
    return np.array([list(chain.from_iterable(members[each] for each in order))[:count] for order in orders])


def lengths_of_runs(positions: Sequence[int]) -> list[int]:
    """Lengths of the runs of consecutive positions.

    >>> lengths_of_runs([3, 4, 5, 9, 10])
    [3, 2]
    """
    ordered = np.sort(np.asarray(positions))
    ends = np.flatnonzero(np.diff(ordered) != 1)
    return [len(run) for run in np.split(ordered, ends + 1)]


def groups_of_runs(size: int, lengths: Sequence[int], draws: int, rng: np.random.Generator) -> Index:
    """Groups of runs of consecutive never-seen samples, as long as those of the forgotten ones; `(draws, m)`.

    Neighbours in a series have much in common, so that a run varies more than as many single samples do.
    """
    starts = [rng.integers(size - length + 1, size=draws) for length in lengths]
    runs = [start[:, None] + np.arange(length) for start, length in zip(starts, lengths, strict=True)]
    found: Index = np.concatenate(runs, axis=1)
    return found


def matched_groups(wanted: Values, there: Values, draws: int, rng: np.random.Generator) -> Index:
    """Groups in which each forgotten sample has a counterpart of nearly its target, `(draws, m)`.

    Args:
        wanted: targets of the forgotten samples, `(m, outputs)`.
        there: of the never-seen samples, `(u, outputs)`.
        draws: number of groups.
        rng: random draws.
    """
    from scipy.spatial import cKDTree

    unit = there.std(axis=0)
    unit[unit == 0] = 1.0
    tree = cKDTree(there / unit)
    _, nearest = tree.query(wanted / unit, k=min(MATCHES, len(there)))
    near = np.atleast_2d(nearest).reshape(len(wanted), -1)
    chosen = rng.integers(near.shape[1], size=(draws, len(wanted)))
    found: Index = near[np.arange(len(wanted)), chosen]
    return found


def p_value(slope: float, null: Values) -> float:
    """One-sided p-value: how often never-seen samples lean as far towards their targets.

    >>> p_value(0.5, np.array([0.1, 0.6, -0.2]))
    0.5
    """
    return float((1 + (null >= slope).sum()) / (1 + len(null)))


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
    return float((slopes > limit).mean())
