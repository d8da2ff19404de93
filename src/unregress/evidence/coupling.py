"""Coupling: how much the initial weights decide what a training learns.  Arrays in, numbers out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unregress.evidence.nan_means import mean

Values = NDArray[Any]

STRONG, WEAK = 0.3, 0.7
"""Coupling below which it is called strong, and above which weak."""


def coupling(same: Sequence[Values], other: Sequence[Values], center: Values) -> float | None:
    """Distance of models of the same initial weights from one of them, as a multiple of other models' distance.

    κ = mean |model of the same start - center| / mean |model of another start - center|: near 0 where the initial
    weights decide everything, near 1 where they decide nothing.

    Args:
        same: predictions of never-seen samples by models with the initial weights of `center`, each `(n, *out)`.
        other: the same of models with other initial weights.
        center: predictions of the original, or of a gold that starts as the original did.

    Returns:
        κ; None if a distance is not finite, or models of other initial weights predict what `center` does.

    >>> coupling([np.array([1.0, 3.0])], [np.array([5.0, 1.0]), np.array([1.0, 5.0])], np.array([1.0, 1.0]))
    0.5
    """
    with np.errstate(over="ignore"):
        near, far = (float(mean(np.stack([np.abs(each - center) for each in models]))) for models in (same, other))
    return near / far if np.isfinite(near) and np.isfinite(far) and far > 0 else None


def is_weak(kappa: float | None) -> bool:
    """Whether a coupling is weak, or unknown, so that leave-out predictions show what models in general predict."""
    return kappa is None or kappa > WEAK


def strength(kappa: float) -> str:
    """The strength of a coupling in a word.

    >>> [strength(kappa) for kappa in (0.29, 0.3, 0.7, 0.71)]
    ['strong', 'moderate', 'moderate', 'weak']
    """
    return "strong" if kappa < STRONG else "weak" if kappa > WEAK else "moderate"
