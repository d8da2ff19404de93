"""Energy distance between distributions of predictions, and of residuals (Székely and Rizzo 2013)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf, isnan
from typing import ClassVar

import numpy as np

from unregress.evidence import MetricInfo, Part, Unit
from unregress.metrics.base import Metric, MetricResult, Panel, distance_measurements
from unregress.metrics.outputs import mean_over_outputs
from unregress.metrics.predictions import Values

PARTS: tuple[Part, ...] = ("train-forget", "test-forget")


def energy_distance(first: Values, second: Values) -> float:
    """Energy distance between two samples of predictions, in target units; the mean over outputs if there are several.

    2 E|X - Y| - E|X - X'| - E|Y - Y'|, which in one dimension is twice the integral of (F - G)² for the two cumulative
    distribution functions.  `scipy.stats.energy_distance` is its square root.  Compared with the Wasserstein distance,
    the integral of |F - G|, it weighs a large difference in few predictions less than a small one in many.

    Unknown values (NaN, equally many in both samples) are left out; each output is weighted by its share of known ones.

    Args:
        first: `(n, *out)`.
        second: `(m, *out)`.

    >>> energy_distance(np.array([0.0, 1.0]), np.array([3.0, 2.0]))  # 2 (1 * 1/4 + 1 * 1 + 1 * 1/4)
    3.0
    """
    return mean_over_outputs(first, second, _energy_distance)


def _energy_distance(first: Values, second: Values) -> float:
    points = np.sort(np.concatenate([first, second]))
    below = [np.searchsorted(np.sort(sample), points[:-1], side="right") / len(sample) for sample in (first, second)]
    squared = (below[0] - below[1]) ** 2
    apart = squared > 0
    with np.errstate(over="ignore", invalid="ignore"):
        found = float(2 * np.sum(squared[apart] * np.diff(points)[apart]))
    # Differences beyond double precision become NaN.
    return inf if isnan(found) else found


@dataclass(frozen=True)
class EnergyDistance(Metric):
    """Energy distance of each model's forget predictions to the golds', and the same of residuals.

    It is not among the default metrics, and no verdict reads it.
    """

    about: ClassVar[tuple[MetricInfo, ...]] = (
        MetricInfo(
            metric="energy",
            title="Energy distance to the retrained models",
            meaning="How differently the forgotten samples' predictions are distributed from a retrained model's: "
            "twice the integral of the squared difference of the two cumulative distribution functions.  "
            "The mean over all retrained models.",
            ideal="The noise floor, which is the distance of a retrained model to the others.  "
            "Blind to which prediction belongs to which sample.",
            unit=Unit.TARGET,
            source="Székely and Rizzo 2013",
            distance=True,
        ),
        MetricInfo(
            metric="energy-residual",
            title="Energy distance of residuals to the retrained models",
            meaning="The same for prediction minus target: it notices predictions that are exchanged between samples, "
            "where the samples' targets differ.",
            ideal="The noise floor.",
            unit=Unit.TARGET,
            source="Székely and Rizzo 2013",
            distance=True,
        ),
    )

    def measure(self, panel: Panel) -> Iterator[MetricResult]:
        """Both distances on the forgotten training samples and, where there are any, their held-out kind."""
        for part in (part for part in PARTS if part in panel.parts):
            seen = {subject.name: subject.parts[part] for subject in panel.subjects}
            predictions = {name: own.comparable for name, own in seen.items()}
            with np.errstate(over="ignore"):
                residuals = {name: own.prediction - own.target for name, own in seen.items()}
            yield from distance_measurements(panel, "energy", part, predictions, energy_distance)
            yield from distance_measurements(panel, "energy-residual", part, residuals, energy_distance)
