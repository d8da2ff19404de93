"""Residuals of models trained on random halves, of which some samples leave a trace: no network is trained."""

from __future__ import annotations

import numpy as np

from unregress.data.request import Mask
from unregress.metrics.deep.lira import halves
from unregress.metrics.predictions import Values


def planted(
    rng: np.random.Generator, *, samples: int, memory: float, models: int = 12, share: float = 0.1
) -> tuple[Values, Mask]:
    """Residuals `(models, samples)`, and which samples each model had: the first ones are known to those that had them.

    Args:
        rng: random draws.
        samples: number of samples.
        memory: by which share of it the residual of a remembered sample is nearer to 0.
        models: an even number.
        share: of the samples that are remembered.
    """
    has = halves(samples, np.arange(samples), models, rng)
    distance = 2 * rng.choice([-1.0, 1.0], samples) * rng.lognormal(0, 0.5, samples)
    noise = 0.5 * rng.normal(size=(models, 1)) + 0.5 * rng.normal(size=(models, samples))
    known = has & (np.arange(samples) < share * samples)
    return distance * np.where(known, 1 - memory, 1.0) + noise, has
