"""Bands of targets: closed intervals, and which targets lie in them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unregress.errors import RequestError


def in_band(values: NDArray[Any], low: float | None, high: float | None) -> NDArray[np.bool_]:
    """True for each value in the closed interval [low, high], `(n,)`; None for no limit."""
    # Compared in the targets' own precision: as float64, the float32 target 2.2 would be above the limit 2.2.
    own = values.dtype.type
    above = values >= own(-np.inf if low is None else low)
    return np.asarray(above & (values <= own(np.inf if high is None else high)), dtype=np.bool_)


def one_per_sample(targets: ArrayLike) -> NDArray[Any]:
    """Convert targets of shape `(n,)` or `(n, 1)` to floating-point numbers of shape `(n,)`.

    Raises:
        RequestError: a sample has several targets.
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
