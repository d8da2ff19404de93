"""Distances between samples of several outputs, output by output."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from unregress.metrics.predictions import Values


def mean_over_outputs(first: Values, second: Values, distance: Callable[[Values, Values], float]) -> float:
    """The mean over outputs of a distance between two samples, each output weighted by its share of known values.

    Args:
        first: `(n, *out)`; NaN for what is not known.
        second: `(m, *out)`; each output has as many NaN as in `first`.
        distance: between two samples of one output, `(k,)` and `(l,)`, free of NaN.
    """
    columns = (values.reshape(len(values), -1).T for values in (first, second))
    pairs = [(a[~np.isnan(a)], b[~np.isnan(b)]) for a, b in zip(*columns, strict=True)]
    found = np.array([distance(a, b) if len(a) else 0.0 for a, b in pairs])
    weights = np.array([len(a) for a, _ in pairs]) / len(first)
    return float(np.mean(found * (weights / weights.mean())))
