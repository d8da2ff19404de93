"""Kernel density estimates for the figures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unregress.evidence import CONSTANT, Curve
from unregress.evidence.nan_means import scale_of
from unregress.metrics.base import Panel, Subject

MOST = 5_000
"""Largest number of values that a density is computed from; of more, so many at equal ranks are used."""


def density(values: NDArray[Any], grid: NDArray[Any], *, at_least_zero: bool = False) -> tuple[float, ...]:
    """Gaussian kernel density of a sample on a grid (Scott's bandwidth); empty where none exists.

    None exists for fewer than two different values, as for a model compared with itself.

    Args:
        values: the sample.
        grid: where to evaluate.
        at_least_zero: the values cannot be negative: mirror the kernels at zero, so that no mass is
            lost below it.  Without this, a density of distances is halved just where it matters.
    """
    from scipy.stats import gaussian_kde

    values = values[np.isfinite(values)]
    # Rescaled by a power of two where values are too large to be squared.
    scale = max(1.0, scale_of(values))
    values, grid = values / scale, grid / scale
    if len(values) < 2 or np.ptp(values) <= 1e-12 * max(1.0 / scale, float(np.abs(values).max())):
        return ()
    # The smallest and the largest value stay, and the bandwidth is that of the whole sample.
    kept = np.sort(values)[np.linspace(0, len(values) - 1, min(len(values), MOST)).round().astype(np.int64)]
    bandwidth = len(values) ** -0.2 * values.std(ddof=1) / kept.std(ddof=1)
    kernel = gaussian_kde(kept, bw_method=float(bandwidth))
    estimate = (kernel(grid) + kernel(-grid) if at_least_zero else kernel(grid)) / scale
    return tuple(float(value) for value in estimate)


def density_curve(model: str, values: NDArray[Any], grid: NDArray[Any], *, at_least_zero: bool = False) -> Curve:
    """The density as one model's curve; without points where no density exists, as the report then says."""
    estimate = density(values, grid, at_least_zero=at_least_zero)
    return Curve(model=model, x=tuple(grid.tolist()) if estimate else (), y=estimate)


def pooled(panel: Panel, values: Callable[[Subject], NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """One sample per model, with all golds pooled under the first gold's name; constants are left out."""
    shown: dict[str, NDArray[Any]] = {}
    for subject in panel.subjects:
        if subject.name == CONSTANT:
            continue
        name = panel.golds[0].name if subject.role == "gold" else subject.name
        found = values(subject)
        shown[name] = np.concatenate([shown[name], found]) if name in shown else found
    return shown
