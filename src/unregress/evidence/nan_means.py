"""Means that leave out unknown values (NaN), and root mean squares without overflow.

If all values are known and of usual size, results equal NumPy's bit for bit.
"""

from __future__ import annotations

from math import frexp
from typing import Any

import numpy as np
from numpy.typing import NDArray

LARGE = 1e100
"""Squares and products of numbers up to this, and sums of many of them, stay within double precision."""


@np.errstate(over="ignore", invalid="ignore")
def mean(values: NDArray[Any], axis: int | None = None) -> Any:
    """Mean of the known values; NaN where there is none.

    >>> float(mean(np.array([1.0, np.nan, 4.0]))), mean(np.array([[1.0, np.nan], [3.0, np.nan]]), axis=0).tolist()
    (2.5, [2.0, nan])
    """
    found = np.mean(values, axis=axis)
    if not np.isnan(found).any():
        return found
    unknown = np.isnan(values)
    counts = (~unknown).sum(axis=axis)
    return np.where(counts > 0, np.where(unknown, 0.0, values).sum(axis=axis) / np.maximum(counts, 1), np.nan)


def median(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Median of each output's known values, `(n, *out)` to `(*out)`; 0 where there is none.

    >>> median(np.array([[1.0, np.nan], [5.0, np.nan], [np.nan, np.nan]])).tolist()
    [3.0, 0.0]
    """
    if not np.isnan(values).any():
        return np.asarray(np.median(values, axis=0))
    known = np.where(np.isnan(values).all(axis=0), 0.0, values)
    return np.asarray(np.nanmedian(known, axis=0))


def scale_of(*values: NDArray[Any]) -> float:
    """A divisor after which numbers can be squared without overflow: 1, or a power of two, which makes division exact.

    >>> scale_of(np.array([3.0, -4e5])), scale_of(np.array([0.0])), scale_of(np.array([2.0**400, np.nan])) == 2.0**401
    (1.0, 1.0, True)
    """
    sizes = [float(np.fmax.reduce(np.abs(each), axis=None, initial=0.0)) for each in values]
    largest = max(sizes, default=0.0)
    if largest == 0 or 1 / LARGE <= largest <= LARGE or not np.isfinite(largest):
        return 1.0
    # 2 ** 1023 is the largest power that is finite.
    return float(2.0 ** min(frexp(largest)[1], 1023))


@np.errstate(over="ignore")
def root_mean_square(values: NDArray[Any]) -> float:
    """Root mean square of the known values.

    >>> root_mean_square(np.array([1.0, 7.0, np.nan])), root_mean_square(np.array([3e200, -3e200]))
    (5.0, 3e+200)
    """
    found = float(mean(values**2))
    if LARGE**-2 < found < np.inf:
        return float(np.sqrt(found))
    scale = scale_of(values)
    return scale * float(np.sqrt(mean((values / scale) ** 2)))
