"""An exact permutation test of models against golds, in several groups that have golds of their own."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, reduce
from itertools import combinations
from math import comb, prod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
MOST = 200_000
"""Largest number of arrangements that are all tried; of more, as many are drawn."""


class Group(NamedTuple):
    """The values of one measurement of models, and of the golds that they share."""

    models: tuple[float, ...]
    golds: tuple[float, ...]


class Exchanged(NamedTuple):
    """The result of exchanging labels between models and golds."""

    p: float
    """Two-sided p-value of the hypothesis that the models are further golds."""
    smallest: float
    """Smallest p-value that was possible."""


def exchanged(groups: Sequence[Group], rng: np.random.Generator) -> Exchanged:
    """Test whether models are further golds: which of a group's values are the models' is then arbitrary.

    The statistic is the sum of the models' values, each group in units of its own spread; the p-value is the share of
    all arrangements whose sum lies as far from 0.

    Args:
        groups: the values; labels are exchanged within each.
        rng: draws arrangements where there are more than `MOST`.

    >>> exchanged([Group((27.0, 28.0), (30.0, 31.0))], np.random.default_rng(0)).p  # 27 and 28, or 30 and 31, of 6
    0.3333333333333333
    """
    observed, nulls = 0.0, []
    for group in groups:
        everyone = np.array([*group.models, *group.golds])
        standardised = (everyone - everyone.mean()) / (everyone.std() or 1.0)
        observed += float(standardised[: len(group.models)].sum())
        nulls.append(_sums(standardised, len(group.models), rng))
    exact = prod(comb(len(each.models) + len(each.golds), len(each.models)) for each in groups) <= MOST
    if exact:
        sums = reduce(lambda so_far, null: np.add.outer(so_far, null).ravel(), nulls)
    else:
        sums = np.sum([rng.choice(null, MOST) for null in nulls], axis=0)
    # Sums in another order differ by rounding, which must not decide.
    as_far = [int((np.abs(sums) >= size * (1 - 1e-9)).sum()) for size in (abs(observed), np.abs(sums).max())]
    # Of arrangements that are drawn, the observed one is a further one.
    p, smallest = (count / len(sums) if exact else (count + 1) / (len(sums) + 1) for count in as_far)
    return Exchanged(p, smallest)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for their number, after Holm (1979).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values, kind="stable")
    scaled = np.asarray(p_values)[order] * np.arange(len(p_values), 0, -1)
    found = np.empty(len(p_values))
    found[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return [float(each) for each in found]


def _sums(values: Values, count: int, rng: np.random.Generator) -> Values:
    """Sums of `count` of the values in all choices, or in as many as are tried, drawn at random.

    SciPy's `permutation_test` refuses a sample of one, which is what an audit with golds of its own has.
    """
    if comb(len(values), count) <= MOST:
        return np.asarray(values[_choices(len(values), count)].sum(axis=1))
    return np.asarray(rng.permuted(np.tile(values, (MOST, 1)), axis=1)[:, :count].sum(axis=1))


@lru_cache(maxsize=4)
def _choices(places: int, count: int) -> NDArray[np.intp]:
    """All choices of `count` of so many places, a row each."""
    return np.array(list(combinations(range(places), count)), dtype=np.intp)
