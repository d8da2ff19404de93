"""First Wasserstein distance between prediction distributions (paper Eq. 1)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.stats import wasserstein_distance

from unregress.evidence import About, Figure, Measure
from unregress.metrics.base import Finding, Metric, Panel
from unregress.metrics.density import density_curve
from unregress.predictions import Values, require_aligned


def w1(first: Values, second: Values) -> float:
    """W1 between two samples of predictions, in target units; the mean over outputs where there are several.

    It compares distributions and ignores which sample a prediction belongs to: a permutation has
    distance 0, which is why the paired difference stands beside it.

    >>> w1(np.array([0.0, 1.0]), np.array([3.0, 2.0]))
    2.0
    """
    columns = (values.reshape(len(values), -1).T for values in (first, second))
    return float(np.mean([wasserstein_distance(a, b) for a, b in zip(*columns, strict=True)]))


@dataclass(frozen=True)
class Wasserstein(Metric):
    """W1 of each model's forget predictions to the retrained model's (the paper's w_dist)."""

    about: ClassVar[tuple[About, ...]] = (
        About(
            metric="w1",
            title="Wasserstein distance to the retrained model",
            meaning="How far the forgotten samples' predictions must be moved, on average, to be "
            "distributed like the retrained model's.",
            ideal="As small as the noise floor, the distance between two retrained models that differ "
            "only by their seed.  Blind to which prediction belongs to which sample.",
            unit="target units",
            source="paper Section 5 and Eq. 1, w_dist",
        ),
    )

    def measure(self, panel: Panel) -> Iterator[Finding]:
        """W1 on the forgotten training samples and, where there are any, their held-out kind."""
        for part in ("train-forget", "test-forget"):
            if part not in panel.parts:
                continue
            gold = panel.gold.parts[part]
            for subject in panel.subjects:
                require_aligned(subject.parts[part], gold)
                distance = w1(subject.parts[part].prediction, gold.prediction)
                yield Measure(metric="w1", split=part, model=subject.name, value=distance)
        yield self._figure(panel)

    def _figure(self, panel: Panel) -> Figure:
        predictions = {s.name: s.parts["train-forget"].prediction.ravel() for s in panel.subjects}
        target = panel.gold.parts["train-forget"].target.ravel()
        values = np.concatenate([*predictions.values(), target])
        low, high = np.quantile(values, [0.002, 0.998])
        margin = 0.1 * (high - low)
        grid = np.linspace(low - margin, high + margin, 200)
        curves = [density_curve(name, seen, grid) for name, seen in predictions.items()]
        return Figure(
            key="prediction-density",
            title="Predictions for the forgotten samples",
            caption="Where each model's predictions for the samples to forget lie.  An unlearned model "
            "should lie where the retrained model does, wherever that is.",
            x_label="prediction (target units)",
            y_label="density",
            curves=tuple(curves),
        )
