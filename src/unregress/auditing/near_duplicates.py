"""Near duplicates of forgotten samples among the retained ones, by the original's features."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unregress.errors.wording import some
from unregress.metrics.base import Panel

NEAR = 0.1
"""A near duplicate is nearer than this share of the usual distance between neighbours."""
COMPARED = 1000
"""Retained samples of which the usual distance is the median, and largest number of forgotten ones that are compared.
"""


def near_duplicates(forgotten: NDArray[np.float32], retained: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Find the forgotten samples with a retained one that is unusually near, and not equal; `(m,)`.

    The usual distance is the median of the retained samples' distances to their nearest neighbour.

    Args:
        forgotten: features, `(m, d)`.
        retained: features, `(n, d)`.
    """
    from sklearn.neighbors import NearestNeighbors  # takes a second, and only audits need it

    search = NearestNeighbors(n_neighbors=2).fit(retained)
    sample = retained[np.linspace(0, len(retained) - 1, min(len(retained), COMPARED)).round().astype(int)]
    usual = float(np.median(search.kneighbors(sample)[0][:, 1]))
    nearest = search.kneighbors(forgotten, n_neighbors=1)[0][:, 0]
    # Equal samples are reported as duplicates by the preflight.
    found: NDArray[np.bool_] = (nearest > 1e-6 * usual) & (nearest < NEAR * usual)
    return found


def near_duplicates_caveat(panel: Panel) -> list[str]:
    """A caveat that counts near duplicates which stay; empty if there are none, or no features were collected."""
    seen, kept = panel.original.parts["train-forget"], panel.original.parts["train-retain"].activation
    if seen.activation is None or not len(seen.activation) or kept is None or len(kept) < 3:
        return []
    count = min(len(seen.activation), COMPARED)
    places = np.linspace(0, len(seen.activation) - 1, count).round().astype(int)
    near = near_duplicates(seen.activation[places], kept)
    if not near.any():
        return []
    rows = seen.featured[places[near]].tolist()
    return [
        f"{len(rows)} of {count} forgotten samples have a near duplicate among {len(kept):,} retained ones "
        f"that were compared: by the original's features it is nearer than a tenth of the usual distance. What was "
        f"learnt from it stays. Their positions in the training set: {some(rows)}."
    ]
