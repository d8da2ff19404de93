"""Groups of never-seen samples like the forgotten ones, and how much more than they a new group varies.

Arrays in, arrays and numbers out.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import chain
from math import ceil, sqrt

import numpy as np

from unregress.data.request import Index
from unregress.evidence.table_verdict import TABLE_LEVEL
from unregress.metrics.predictions import Values

MATCHES = 25
"""Never-seen samples with the nearest targets from which each forgotten sample's counterpart is drawn."""
FEWEST = 20
"""Smallest number of never-seen samples, or people, to draw groups from."""


@dataclass(frozen=True)
class Groups:
    """Groups of never-seen samples."""

    positions: Index
    """Positions of the samples of each group, `(draws, m)`."""
    how: str
    """How the groups were drawn, in words."""
    widening: float
    """Factor by which a new group varies more than these.

    The groups share one pool.  Their means vary about the pool's own mean only, with variance σ² (1/m - 1/u) where m of
    u samples are drawn; a new group differs from that mean with variance σ² (1/m + 1/u).  Student's quantile, in place
    of the normal one, allows for few samples."""


def widening(own: float, shared: float, within: float, units: float) -> float:
    """The factor of `Groups.widening`, for means of weighted units: √((own + shared) / (within - shared)), by Student.

    Args:
        own: sum of the squared weights of the new group's units; 1/m for m units of one sample each.
        shared: sum of the squared mean weights of the pool's units over all groups; 1/u.
        within: mean over the groups of the sum of their units' squared weights; 1/m.
        units: number of units in the pool, which vary independently: samples, people or stretches.

    >>> round(widening(1 / 10, 1 / 1000, 1 / 10, 1000), 3), round(widening(1 / 10, 1 / 20, 1 / 10, 20), 3)
    (1.011, 1.85)
    """
    from scipy.stats import norm, t

    student = t.ppf(1 - TABLE_LEVEL, max(units - 1, 1)) / norm.ppf(1 - TABLE_LEVEL)
    return float(student * sqrt((own + shared) / max(within - shared, 1e-12)))


def needed(forgotten: int) -> int:
    """Number of never-seen samples, or people, from which on groups like the forgotten ones can be drawn.

    Twice as many, and twenty at least; a single one is among the 2.5 % that lean farthest only if there are forty.
    """
    return max(2 * forgotten, FEWEST, ceil(1 / TABLE_LEVEL / forgotten))


def unit_weights(groups: Index, units: Sequence[Hashable]) -> tuple[float, float]:
    """Sum of the squared mean weights of units over groups, and mean sum of the squared weights in a group.

    Args:
        groups: positions of the samples of each group, `(draws, m)`.
        units: the unit of each sample in the pool, such as its person.

    >>> unit_weights(np.array([[0, 1], [2, 3]]), ["a", "a", "b", "b"])
    (0.5, 1.0)
    """
    _, unit = np.unique(np.array([str(each) for each in units]), return_inverse=True)
    drawn, kinds, size = unit[groups], int(unit.max()) + 1, groups.shape[1]
    mean = np.bincount(drawn.ravel(), minlength=kinds) / drawn.size
    _, counts = np.unique(np.arange(len(groups))[:, None] * kinds + drawn, return_counts=True)
    return float((mean**2).sum()), float(((counts / size) ** 2).sum() / len(groups))


def random_of(size: int, count: int, draws: int, rng: np.random.Generator) -> Groups:
    """Groups of random samples.

    Args:
        size: number of never-seen samples.
        count: number of samples in a group.
        draws: number of groups.
        rng: random draws.
    """
    factor = widening(1 / count, 1 / size, 1 / count, size)
    return Groups(random_groups(size, count, draws, rng), "random never-seen samples", factor)


def of_people(
    people: Sequence[Hashable], forgotten: Sequence[Hashable], draws: int, rng: np.random.Generator
) -> Groups:
    """Groups of people with all of their samples.

    Args:
        people: the person of each never-seen sample.
        forgotten: the person of each forgotten sample.
        draws: number of groups.
        rng: random draws.
    """
    found = groups_of_people(people, len(forgotten), draws, rng)
    _, counts = np.unique(np.array([str(each) for each in forgotten]), return_counts=True)
    own = float(((counts / counts.sum()) ** 2).sum())
    return Groups(found, "never-seen people", widening(own, *unit_weights(found, people), len(set(people))))


def of_runs(size: int, lengths: Sequence[int], draws: int, rng: np.random.Generator) -> Groups:
    """Groups of stretches; those of one length in the pool count as independent.

    Args:
        size: number of never-seen samples.
        lengths: of the forgotten stretches.
        draws: number of groups.
        rng: random draws.
    """
    shares = np.asarray(lengths) / sum(lengths)
    typical = float((shares * lengths).sum())
    own = float((shares**2).sum())
    factor = widening(own, typical / size, own, size / typical)
    return Groups(groups_of_runs(size, lengths, draws, rng), "stretches of never-seen samples as long", factor)


def matched(wanted: Values, there: Values, draws: int, rng: np.random.Generator) -> Groups:
    """Groups of samples with nearly the same targets; arguments as for `matched_groups`."""
    found = matched_groups(wanted, there, draws, rng)
    shared, within = unit_weights(found, range(len(there)))
    factor = widening(1 / len(wanted), shared, within, len(there))
    return Groups(found, "never-seen samples of nearly the same targets", factor)


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
    # Each person has a sample or more, so that more people than samples are never needed.
    orders = (rng.choice(len(members), min(len(members), count), replace=False) for _ in range(draws))
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
