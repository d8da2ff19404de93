"""Bands of targets: which values lie in a closed interval."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unregress.errors import RequestError


def in_band(values: NDArray[Any], low: float | None, high: float | None) -> NDArray[np.bool_]:
    """Which values lie in the closed interval from `low` to `high`; None for no limit."""
    # In the targets' own precision: the float32 target 2.2 is above the float64 limit 2.2, and yet at it.
    own = values.dtype.type
    above = values >= own(-np.inf if low is None else low)
    return np.asarray(above & (values <= own(np.inf if high is None else high)), dtype=np.bool_)


def one_per_sample(targets: ArrayLike) -> NDArray[Any]:
    """Targets as floating-point numbers, `(n,)`.

    Raises:
        RequestError: there are several for each sample.
    """
    values = np.asarray(targets)
    if values.dtype.kind != "f":
        values = values.astype(np.float64)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise RequestError(
            f"The targets have shape {values.shape}",
            expected="one target per sample for a band",
            remedy="For several outputs choose the samples yourself with `ForgetRequest.where`",
        )
    return values
