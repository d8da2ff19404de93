"""First Wasserstein distance between distributions of predictions, and of residuals (paper Eq. 1)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.stats import wasserstein_distance

from unregress.evidence import Figure, MetricInfo
from unregress.evidence.nan_means import mean
from unregress.metrics.base import Metric, MetricResult, Panel, Subject, against_golds, measured
from unregress.metrics.density import density_curve, pooled
from unregress.metrics.predictions import Values


def w1(first: Values, second: Values) -> float:
    """W1 between two samples of predictions, in target units; the mean over outputs where there are several.

    What is not known (NaN in both, as often) is left out, and an output counts by how much of it is known.

    It compares distributions and ignores which sample a prediction belongs to: a permutation has
    distance 0, which is why the paired difference stands beside it.

    >>> w1(np.array([0.0, 1.0]), np.array([3.0, 2.0]))
    2.0
    """
    columns = (values.reshape(len(values), -1).T for values in (first, second))
    pairs = [(a[~np.isnan(a)], b[~np.isnan(b)]) for a, b in zip(*columns, strict=True)]
    found = np.array([wasserstein_distance(a, b) if len(a) else 0.0 for a, b in pairs])
    weights = np.array([len(a) for a, _ in pairs]) / len(first)
    return float(np.mean(found * (weights / weights.mean())))


def sorted_w1(first: Values, second: Values) -> float:
    """`w1` of as many predictions on either side, each output sorted already: the mean difference, rank by rank.

    Many models are compared about the same samples; each is sorted once, what is not known (NaN) to its end.

    >>> sorted_w1(np.array([0.0, 1.0]), np.array([2.0, 3.0]))
    2.0
    """
    with np.errstate(over="ignore"):
        return float(mean(np.abs(first - second)))


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
            unit="target units",
            source="paper Section 5 and Eq. 1, w_dist",
            distance=True,
        ),
        MetricInfo(
            metric="w1-residual",
            title="Wasserstein distance of residuals to the retrained models",
            meaning="The same of prediction minus target: a model that is off by as much, but for other "
            "samples, differs here where the targets do.",
            ideal="The noise floor.",
            unit="target units",
            source="twin of w_dist",
            distance=True,
        ),
    )

    def measure(self, panel: Panel) -> Iterator[MetricResult]:
        """W1 on the forgotten training samples and, where there are any, their held-out kind."""
        for part in ("train-forget", "test-forget"):
            if part not in panel.parts:
                continue

            seen = {subject.name: subject.parts[part] for subject in panel.subjects}
            with np.errstate(over="ignore"):
                values = {
                    "w1": {name: own.comparable for name, own in seen.items()},
                    "w1-residual": {name: own.prediction - own.target for name, own in seen.items()},
                }
            for metric, found in values.items():
                ordered = {name: np.sort(own, axis=0) for name, own in found.items()}

                def distance(a: Subject, b: Subject, of: dict[str, Values] = ordered) -> float:
                    return sorted_w1(of[a.name], of[b.name])

                for model, toward in against_golds(panel, distance).items():
                    yield measured(metric=metric, split=part, model=model, **toward._asdict())
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
