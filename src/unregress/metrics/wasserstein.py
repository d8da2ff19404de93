"""First Wasserstein distance between distributions of predictions, and of residuals (paper Eq. 1)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from unregress.evidence import Figure, MetricInfo, Part, Unit
from unregress.evidence.nan_means import mean
from unregress.metrics.base import Metric, MetricResult, Panel, Subject, distance_measurements
from unregress.metrics.density import density_curve, pooled
from unregress.metrics.outputs import mean_over_outputs
from unregress.metrics.predictions import Values


def w1(first: Values, second: Values) -> float:
    """W1 between two samples of predictions, in target units; the mean over outputs where there are several.

    Unknown values (NaN, equally many in both samples) are left out; each output is weighted by its share of known ones.

    It compares distributions and ignores which sample a prediction belongs to: a permutation has
    distance 0, which is why the paired difference is measured as well.

    >>> w1(np.array([0.0, 1.0]), np.array([3.0, 2.0]))
    2.0
    """
    from scipy.stats import wasserstein_distance

    return mean_over_outputs(first, second, wasserstein_distance)


def sorted_w1(first: Values, second: Values) -> float:
    """W1 between samples of equal size whose outputs are sorted already: the mean difference, rank by rank.

    Many models are compared on the same samples; each is sorted once, with unknown values (NaN) at the end.

    >>> sorted_w1(np.array([0.0, 1.0]), np.array([2.0, 3.0]))
    2.0
    """
    with np.errstate(over="ignore"):
        return float(mean(np.abs(first - second)))


PARTS: tuple[Part, ...] = ("train-forget", "test-forget")


@dataclass(frozen=True)
class Wasserstein(Metric):
    """W1 of each model's forget predictions to the golds' (the paper's w_dist), and the same of residuals."""

    about: ClassVar[tuple[MetricInfo, ...]] = (
        MetricInfo(
            metric="w1",
            title="Wasserstein distance to the retrained models",
            meaning="How far the forgotten samples' predictions must be moved, on average, to be "
            "distributed like a retrained model's.  The mean over all retrained models.",
            ideal="The noise floor, which is the distance of a retrained model to the others.  "
            "Blind to which prediction belongs to which sample.",
            unit=Unit.TARGET,
            source="paper Section 5 and Eq. 1, w_dist",
            distance=True,
        ),
        MetricInfo(
            metric="w1-residual",
            title="Wasserstein distance of residuals to the retrained models",
            meaning="The same for prediction minus target: it notices predictions that are exchanged between samples, "
            "where the samples' targets differ.",
            ideal="The noise floor.",
            unit=Unit.TARGET,
            source="variant of w_dist",
            distance=True,
        ),
    )

    def measure(self, panel: Panel) -> Iterator[MetricResult]:
        """W1 on the forgotten training samples and, where there are any, their held-out kind."""
        for part in (part for part in PARTS if part in panel.parts):
            seen = {subject.name: subject.parts[part] for subject in panel.subjects}
            predictions = {name: np.sort(own.comparable, axis=0) for name, own in seen.items()}
            with np.errstate(over="ignore"):
                residuals = {name: np.sort(own.prediction - own.target, axis=0) for name, own in seen.items()}
            yield from distance_measurements(panel, "w1", part, predictions, sorted_w1)
            yield from distance_measurements(panel, "w1-residual", part, residuals, sorted_w1)
        yield self._figure(panel)

    def _figure(self, panel: Panel) -> Figure:
        def known(subject: Subject) -> Values:
            seen = subject.parts["train-forget"]
            return seen.over_known(seen.prediction)

        predictions = pooled(panel, known)
        forgotten = panel.original.parts["train-forget"]
        values = np.concatenate([*predictions.values(), forgotten.over_known(forgotten.target)])
        low, high = np.quantile(values, [0.002, 0.998])
        margin = 0.1 * (high - low)
        grid = np.linspace(low - margin, high + margin, 200)
        curves = [density_curve(name, seen, grid) for name, seen in predictions.items()]
        return Figure(
            key="prediction-density",
            title="Predictions for the forgotten samples",
            caption="Where each model's predictions for the samples to forget lie.  An unlearned model "
            "should lie where the retrained models do, wherever that is.",
            x_label=f"prediction ({panel.unit})",
            y_label="density",
            curves=tuple(curves),
        )
